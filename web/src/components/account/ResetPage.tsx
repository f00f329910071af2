import { useState } from "react";
import { useTranslation } from "react-i18next";
import { security } from "../../api/security";
import { neededEmailProblem, newPasswordProblem } from "../../state/account";
import { resetPassword, useSession } from "../../state/session";
import { EntryPage, PageLink } from "./EntryPage";
import { EmailField, PasswordField } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { LetterPage } from "./LetterPage";
import { found, useSubmit } from "./useSubmit";
import { useToken } from "./useToken";

/** A forgotten password: asks for a letter, and with the ticket of one, for another password. */
export function ResetPage() {
  const ticket = useToken();
  const mail = useSession((state) => state.mail);
  // A ticket that is too old leads back to asking for a letter.
  const [spent, setSpent] = useState("");
  if (ticket !== "" && ticket !== spent)
    return <ChoosePage ticket={ticket} onSpent={() => setSpent(ticket)} />;
  return mail ? <AskPage key="ask" /> : <NoMailPage />;
}

function BackToLogin() {
  const { t } = useTranslation();
  return (
    <p>
      <PageLink href="/login">{t("security.letter.login")}</PageLink>
    </p>
  );
}

function NoMailPage() {
  const { t } = useTranslation();
  return (
    <EntryPage title={t("security.reset.title")} text={t("security.reset.noMail")} foot={<BackToLogin />}>
      {null}
    </EntryPage>
  );
}

function AskPage() {
  const { t } = useTranslation();
  const [writtenTo, setWrittenTo] = useState<string | null>(null);
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    ({ email }) => found({ email: neededEmailProblem(email) }),
    async ({ email }) => {
      await security.askReset(email.trim());
      setWrittenTo(email.trim());
    },
  );
  if (writtenTo !== null)
    return (
      <LetterPage
        text={t("security.letter.reset", { email: writtenTo })}
        life={t("security.letter.hour")}
        again={t("security.letter.otherAddress")}
        onAgain={() => setWrittenTo(null)}
      />
    );
  return (
    <EntryPage title={t("security.reset.title")} text={t("security.reset.text")} foot={<BackToLogin />}>
      <form {...form}>
        <EmailField label={t("form.email")} problem={problems.email} />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("security.reset.ask")}
        </SubmitButton>
      </form>
    </EntryPage>
  );
}

function ChoosePage({ ticket, onSpent }: { ticket: string; onSpent: () => void }) {
  const { t } = useTranslation();
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    ({ password }) => found({ password: newPasswordProblem(password) }),
    ({ password }) => resetPassword(ticket, password),
  );
  const dead = refusal?.problem === "ticketExpired" || refusal?.problem === "ticketInvalid";
  return (
    <EntryPage
      title={t("security.reset.choose")}
      text={t("security.reset.chooseText")}
      foot={
        dead ? (
          <button type="button" className="link" onClick={onSpent}>
            {t("security.reset.again")}
          </button>
        ) : (
          <BackToLogin />
        )
      }
    >
      <form {...form}>
        <PasswordField
          name="password"
          label={t("password.new")}
          hint={t("form.passwordHint")}
          autoComplete="new-password"
          problem={problems.password}
        />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("security.reset.submit")}
        </SubmitButton>
      </form>
    </EntryPage>
  );
}
