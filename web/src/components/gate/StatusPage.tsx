import "./gate.css";
import { ArrowLeft } from "lucide-react";
import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { GateStatus, Registration } from "../../api/gate";
import type { User } from "../../api/types";
import { counted } from "../../i18n/format";
import { pathOf } from "../../state/route";
import { useStore } from "../../state/store";
import { Section } from "../account/AccountPage";
import { PageLink } from "../account/EntryPage";
import { ConnectionLine } from "../Notices";
import { SettingsMenu } from "../SettingsMenu";
import { Tips } from "../Tips";
import { useGateStatus } from "./useGateStatus";
import { Moves, Reasons, Reopens } from "./words";

const EVERY_MS = 10_000;

/** How the service is, for everybody, signed in or not. */
export function StatusPage({ user }: { user: User | null }) {
  const { t } = useTranslation();
  const open = useStore((state) => state.open.id);
  const heading = useRef<HTMLHeadingElement>(null);
  const { status, read_ms, failed } = useGateStatus(EVERY_MS);
  const title = t("gate.status.title");
  useEffect(() => {
    document.title = `${title} · ${t("app.name")}`;
  }, [title, t]);
  useEffect(() => heading.current?.focus(), []);
  return (
    <div className="account">
      <ConnectionLine />
      <header className="account-head">
        <PageLink href={user === null ? "/login" : pathOf(open)} className="button-text account-back">
          <ArrowLeft size={18} aria-hidden />
          {t(user === null ? "login.title" : "account.back")}
        </PageLink>
        <SettingsMenu compact />
      </header>
      <main className="account-main">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        {status === null ? (
          <p className="account-text" role="status">
            {t(failed ? "gate.status.failed" : "gate.status.loading")}
          </p>
        ) : (
          <>
            <ReadAt read_ms={read_ms} failed={failed} />
            <Standing status={status} read_ms={read_ms} />
          </>
        )}
      </main>
      <Tips />
    </div>
  );
}

function ReadAt({ read_ms, failed }: { read_ms: number; failed: boolean }) {
  const { t, i18n } = useTranslation();
  const when = new Intl.DateTimeFormat(i18n.language, { timeStyle: "medium" }).format(read_ms);
  return <p className="account-text">{t(failed ? "gate.status.stale" : "gate.status.updated", { when })}</p>;
}

function Standing({ status, read_ms }: { status: GateStatus; read_ms: number }) {
  const { t } = useTranslation();
  const { registration, incident, moves } = status;
  return (
    <>
      <Section title={t("gate.status.service")}>
        <p className="gate-text">{t("gate.status.serviceText")}</p>
      </Section>
      <Section title={t("gate.status.registration")}>
        {registration.offered ? (
          <Door registration={registration} incident={incident} read_ms={read_ms} />
        ) : (
          <p className="gate-text">{t("gate.status.closed")}</p>
        )}
      </Section>
      <Section title={t("gate.status.moves")} text={t("gate.status.movesText")}>
        <Moves moves={moves} />
      </Section>
    </>
  );
}

interface DoorProps {
  registration: Registration;
  incident: GateStatus["incident"];
  read_ms: number;
}

function Door({ registration, incident, read_ms }: DoorProps) {
  const { t, i18n } = useTranslation();
  const { level, since_ms } = registration;
  const at = new Intl.DateTimeFormat(i18n.language, { dateStyle: "long", timeStyle: "short" });
  return (
    <>
      <p className="gate-state">
        <span className="gate-dot" data-level={level} aria-hidden="true" />
        <GateLevel registration={registration} />
      </p>
      <p className="gate-text">{t(`gate.means.${level}`)}</p>
      {incident !== null && (
        <p className="gate-text">{t("gate.status.incident", { when: at.format(incident.since_ms) })}</p>
      )}
      <dl className="facts">
        <dt>{t("gate.status.since")}</dt>
        <dd>
          <time dateTime={new Date(since_ms).toISOString()}>{at.format(since_ms)}</time>
        </dd>
        <DoorFacts registration={registration} read_ms={read_ms} />
      </dl>
    </>
  );
}

/** The level's name, which is said aloud when it changes. */
function GateLevel({ registration: { level } }: { registration: Registration }) {
  const { t } = useTranslation();
  const name = t(`gate.level.${level}`);
  const before = useRef(level);
  const [changed, setChanged] = useState(false);
  useEffect(() => {
    if (before.current !== level) setChanged(true);
    before.current = level;
  }, [level]);
  return (
    <>
      {name}
      <span className="sr-only" role="status">
        {changed ? t("gate.status.changed", { level: name }) : ""}
      </span>
    </>
  );
}

/** When it opens, who waits, how many are let in, and why; for operators as for the public. */
export function DoorFacts({ registration, read_ms }: Omit<DoorProps, "incident">) {
  const { t, i18n } = useTranslation();
  const { level, pinned, reasons, reopens_in_seconds, waiting, accounts_per_minute } = registration;
  return (
    <>
      {level !== "open" && (pinned || reopens_in_seconds !== null) && (
        <>
          <dt>{t("gate.status.reopens")}</dt>
          <dd>
            <Reopens registration={registration} read_ms={read_ms} />
          </dd>
        </>
      )}
      <dt>{t("gate.status.waiting")}</dt>
      <dd>{t("gate.status.waitingCount", counted(waiting, i18n.language))}</dd>
      <dt>{t("gate.status.budget")}</dt>
      <dd>{t("gate.status.budgetCount", counted(accounts_per_minute, i18n.language))}</dd>
      {reasons.length > 0 && (
        <>
          <dt>{t("gate.status.reasons")}</dt>
          <dd>
            <Reasons reasons={reasons} />
          </dd>
        </>
      )}
    </>
  );
}
