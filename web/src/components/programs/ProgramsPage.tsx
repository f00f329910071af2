import "../admin/admin.css";
import "./programs.css";
import { ArrowLeft } from "lucide-react";
import { useTranslation } from "react-i18next";
import type { User } from "../../api/types";
import { pathOf, pathVia, programPartOf, programParts } from "../../state/route";
import { useSession } from "../../state/session";
import { useStore } from "../../state/store";
import { PageLink } from "../account/EntryPage";
import { ConnectionLine, NoticeLine } from "../Notices";
import { SettingsMenu } from "../SettingsMenu";
import { Tips } from "../Tips";
import { Keys } from "./Keys";
import { Reference } from "./Reference";
import { OwnUsage } from "./Usage";

/** The area of those who write programs. Who is not signed in sees what programs can ask, and no more. */
export function ProgramsPage({ user }: { user: User | null }) {
  const { t } = useTranslation();
  const { t: texts } = useTranslation("programs");
  const open = useStore((state) => state.open.id);
  const address = useSession((state) => state.address);
  const [path = "", search = ""] = address.split("?");
  const part = programPartOf(path);
  return (
    <div className="account admin programs">
      <ConnectionLine />
      <header className="account-head">
        {user === null ? (
          <PageLink href={pathVia("/login", path)} className="button-text account-back">
            {t("login.title")}
          </PageLink>
        ) : (
          <PageLink href={pathOf(open)} className="button-text account-back">
            <ArrowLeft size={18} aria-hidden />
            {t("account.back")}
          </PageLink>
        )}
        <SettingsMenu compact />
      </header>
      {user !== null && (
        <nav className="admin-nav" aria-label={texts("label")}>
          {programParts.map((name) => (
            <PageLink key={name} href={`/${name}`} className="admin-tab" current={name === part}>
              {texts(`nav.${name}`)}
            </PageLink>
          ))}
        </nav>
      )}
      <main className="account-main">
        {user === null || part === "reference" ? (
          <Reference />
        ) : part === "keys" ? (
          <Keys />
        ) : (
          <OwnUsage keyId={new URLSearchParams(search).get("key") || null} />
        )}
      </main>
      <NoticeLine />
      <Tips />
    </div>
  );
}
