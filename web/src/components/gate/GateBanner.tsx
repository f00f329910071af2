import "./gate.css";
import { Info } from "lucide-react";
import { useTranslation } from "react-i18next";
import { causeOf } from "../../state/gate";
import { pathVia, returnPath } from "../../state/route";
import { PageLink } from "../account/EntryPage";
import { useGateStatus } from "./useGateStatus";
import { Reopens } from "./words";

const EVERY_MS = 30_000;

/**
 * Why new accounts are not made as usual, on the pages of whoever isn't signed in. On the login it begins with what matters to who
 * has an account.
 */
export function GateBanner({ on }: { on: "login" | "sign-up" }) {
  const { t } = useTranslation();
  const { status, read_ms } = useGateStatus(EVERY_MS);
  const registration = status?.registration;
  const shown = registration?.offered && registration.level !== "open";
  const cause = causeOf(registration?.reasons ?? []);
  const existing = (
    <p className="gate-existing">
      {t("gate.banner.existing")}{" "}
      {on === "sign-up" && (
        <PageLink href={pathVia("/login", returnPath(window.location.search))}>
          {t("gate.banner.signIn")}
        </PageLink>
      )}
    </p>
  );
  return (
    <section className="gate-banner" aria-label={t("gate.banner.label")} hidden={!shown}>
      {shown && <Info size={18} aria-hidden className="shrink-0" />}
      <div>
        {/* What is said aloud changes with the level, not with every second. */}
        <div role="status">
          {shown && (
            <>
              {on === "login" && existing}
              <p>
                <strong>{t("gate.banner.title", { level: t(`gate.level.${registration.level}`) })}.</strong>{" "}
                {cause !== null && `${t(`gate.cause.${cause}`)} `}
                {t(`gate.means.${registration.level}`)}
              </p>
              {on === "sign-up" && existing}
            </>
          )}
        </div>
        {shown && (
          <p>
            <Reopens registration={registration} read_ms={read_ms} />{" "}
            <PageLink href="/status">{t("gate.banner.more")}</PageLink>
          </p>
        )}
      </div>
    </section>
  );
}
