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
import { PageLink } from "./EntryPage";
import { Sessions } from "./Sessions";

export function AccountPage({ user }: { user: User }) {
  const { t } = useTranslation();
  const open = useStore((state) => state.open.id);
  const heading = useRef<HTMLHeadingElement>(null);
  const [changes, setChanges] = useState(0);
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
        <Profile user={user} />
        <Sessions changes={changes} />
        <ChangePassword name={user.name} onChanged={() => setChanges(changes + 1)} />
        <Data />
        <DeleteAccount name={user.name} />
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

function Profile({ user }: { user: User }) {
  const { t, i18n } = useTranslation();
  const since = new Intl.DateTimeFormat(i18n.language, { dateStyle: "long" }).format(user.created_ms);
  return (
    <Section title={t("account.profile")}>
      <dl className="facts">
        <dt>{t("form.name")}</dt>
        <dd dir="auto">{user.name}</dd>
        {user.email !== null && (
          <>
            <dt>{t("form.email")}</dt>
            <dd>{user.email}</dd>
          </>
        )}
        <dt>{t("account.role")}</dt>
        <dd>{t(`account.${user.role}`)}</dd>
        <dt>{t("account.since")}</dt>
        <dd>{since}</dd>
      </dl>
    </Section>
  );
}
