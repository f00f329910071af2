import { useState } from "react";
import { useTranslation } from "react-i18next";
import { pathVia, returnPath } from "../../state/route";
import { signUp, useSession } from "../../state/session";
import { EntryPage, PageLink } from "./EntryPage";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { LetterPage } from "./LetterPage";
import { NewUserFields, newUserProblems } from "./NewUserFields";
import { found, useSubmit } from "./useSubmit";

export function SignUpPage() {
  const { t } = useTranslation();
  const mail = useSession((state) => state.mail);
  const [writtenTo, setWrittenTo] = useState<string | null>(null);
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) => found(newUserProblems(values, mail)),
    async ({ name, email, password }) => {
      const address = email.trim();
      const mailed = await signUp({ name: name.trim(), password, ...(mail ? { email: address } : {}) });
      if (mailed) setWrittenTo(address);
    },
  );
  if (writtenTo !== null)
    return (
      <LetterPage
        text={t("security.letter.signUp", { email: writtenTo })}
        life={t("security.letter.day")}
        again={t("security.letter.otherAddress")}
        onAgain={() => setWrittenTo(null)}
      />
    );
  const login = pathVia("/login", returnPath(window.location.search));
  return (
    <EntryPage
      title={t("signUp.title")}
      text={t("signUp.text")}
      foot={
        <p>
          {t("signUp.hasAccount")} <PageLink href={login}>{t("signUp.login")}</PageLink>
        </p>
      }
    >
      <form {...form}>
        <NewUserFields problems={problems} email={mail} />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("signUp.submit")}
        </SubmitButton>
      </form>
    </EntryPage>
  );
}
