import { ArrowLeft } from "lucide-react";
import { type ReactNode, useEffect, useId, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { User } from "../../api/types";
import { pathOf } from "../../state/route";
import { useStore } from "../../state/store";
import { ConnectionLine, NoticeLine } from "../Notices";
import { SettingsMenu } from "../SettingsMenu";
import { Tips } from "../Tips";
import { ChangePassword } from "./ChangePassword";
import { Data } from "./Data";
import { DeleteAccount } from "./DeleteAccount";
import { PageLink, PageNote } from "./EntryPage";
import { LinkedProviders } from "./LinkedProviders";
import { Passkeys } from "./Passkeys";
import { Profile } from "./Profile";
import { SecondFactor } from "./SecondFactor";
import { Sessions } from "./Sessions";
import { type Standing, useSecurity } from "./useSecurity";

export function AccountPage({ user }: { user: User }) {
  const { t } = useTranslation();
  const open = useStore((state) => state.open.id);
  const heading = useRef<HTMLHeadingElement>(null);
  const [changes, setChanges] = useState(0);
  const { security, load, onChange } = useSecurity();
  const standing = typeof security === "string" ? null : { user, security, onChange };
  const title = t("account.title");
  useEffect(() => {
    document.title = `${title} · ${t("app.name")}`;
  }, [title, t]);
  useEffect(() => heading.current?.focus(), []);
  return (
    <div className="account">
      <ConnectionLine />
      <header className="account-head">
        <PageLink href={pathOf(open)} className="button-text account-back">
          <ArrowLeft size={18} aria-hidden />
          {t("account.back")}
        </PageLink>
        <SettingsMenu compact />
      </header>
      <main className="account-main">
        <h1 ref={heading} tabIndex={-1}>
          {title}
        </h1>
        <PageNote />
        <Profile user={user} standing={standing} />
        {security === "unreachable" && <SecurityMissing onRetry={() => void load()} />}
        {standing !== null && (
          <WaysIn standing={standing} onSessions={() => setChanges((count) => count + 1)} />
        )}
        <Sessions changes={changes} />
        <Data />
        {standing !== null && <DeleteAccount standing={standing} />}
      </main>
      <NoticeLine />
      <Tips />
    </div>
  );
}

/** One part of the page, under its heading. */
export function Section({ title, text, children }: { title: string; text?: string; children: ReactNode }) {
  const id = useId();
  return (
    <section className="account-section" aria-labelledby={id}>
      <h2 id={id} tabIndex={-1}>
        {title}
      </h2>
      {text !== undefined && <p className="account-text">{text}</p>}
      {children}
    </section>
  );
}

/** How one signs in; what can be done about it depends on what there is. */
function WaysIn({ standing, onSessions }: { standing: Standing; onSessions: () => void }) {
  return (
    <>
      <ChangePassword standing={standing} onSessions={onSessions} />
      <Passkeys standing={standing} />
      <SecondFactor standing={standing} />
      <LinkedProviders standing={standing} />
    </>
  );
}

function SecurityMissing({ onRetry }: { onRetry: () => void }) {
  const { t } = useTranslation();
  return (
    <Section title={t("security.title")}>
      <p className="account-text" role="alert">
        {t("security.unreachable")}{" "}
        <button type="button" className="button-text" onClick={onRetry}>
          {t("connection.retry")}
        </button>
      </p>
    </Section>
  );
}
