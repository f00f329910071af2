import { useState } from "react";
import { useTranslation } from "react-i18next";
import { security as api } from "../../api/security";
import type { User } from "../../api/types";
import { neededEmailProblem } from "../../state/account";
import { useSession } from "../../state/session";
import { Section } from "./AccountPage";
import { EmailField } from "./Field";
import { IdentityDialog } from "./IdentityDialog";
import type { Standing } from "./useSecurity";
import { found } from "./useSubmit";

/** Who one is here; the address can be changed once it is known how one proves who one is, and where letters are sent. */
export function Profile({ user, standing }: { user: User; standing: Standing | null }) {
  const { t, i18n } = useTranslation();
  const mail = useSession((state) => state.mail);
  const since = new Intl.DateTimeFormat(i18n.language, { dateStyle: "long" }).format(user.created_ms);
  return (
    <Section title={t("account.profile")}>
      <dl className="facts">
        <dt>{t("form.name")}</dt>
        <dd dir="auto">{user.name}</dd>
        {user.email !== null && (
          <>
            <dt>{t("form.email")}</dt>
            <dd className="facts-address">
              <span className="min-w-0">{user.email}</span>
              {mail && user.email_verified && <span className="badge">{t("security.email.confirmed")}</span>}
            </dd>
          </>
        )}
        <dt>{t("account.role")}</dt>
        <dd>{t(`account.${user.role}`)}</dd>
        <dt>{t("account.since")}</dt>
        <dd>{since}</dd>
      </dl>
      {mail && standing !== null && <ChangeEmail standing={standing} />}
    </Section>
  );
}

/** The new address takes the old one's place when the letter to it is answered. */
function ChangeEmail({ standing }: { standing: Standing }) {
  const { t } = useTranslation();
  const [writtenTo, setWrittenTo] = useState<string | null>(null);
  const none = standing.user.email === null;
  return (
    <>
      <IdentityDialog
        standing={standing}
        trigger={
          <button type="button" className="button">
            {t(none ? "security.email.add" : "security.email.change")}
          </button>
        }
        title={t(none ? "security.email.addTitle" : "security.email.title")}
        text={t("security.email.text")}
        submit={t("security.email.submit")}
        check={({ email }) => found({ email: neededEmailProblem(email) })}
        act={async (password, values) => {
          const email = values.email.trim();
          await api.changeEmail(email, password);
          setWrittenTo(email);
        }}
      >
        {(problems) => <EmailField label={t("security.email.new")} problem={problems.email} />}
      </IdentityDialog>
      <p className="account-said" role="status">
        {writtenTo !== null && t("security.email.sent", { email: writtenTo })}
      </p>
    </>
  );
}
