import { useTranslation } from "react-i18next";
import { pathVia, returnPath } from "../../state/route";
import { login, useSession } from "../../state/session";
import { EntryPage, PageLink } from "./EntryPage";
import { Field, PasswordField } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { found, useSubmit } from "./useSubmit";

export function LoginPage() {
  const { t } = useTranslation();
  const canSignUp = useSession((state) => state.sign_up);
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) =>
      found({
        login: values.login.trim() === "" ? "loginMissing" : null,
        old: values.old === "" ? "passwordMissing" : null,
      }),
    (values) => login(values.login.trim(), values.old),
  );
  const signUp = pathVia("/sign-up", returnPath(window.location.search));
  return (
    <EntryPage
      title={t("login.title")}
      foot={
        canSignUp ? (
          <p>
            {t("login.noAccount")} <PageLink href={signUp}>{t("login.signUp")}</PageLink>
          </p>
        ) : (
          <p>{t("login.closed")}</p>
        )
      }
    >
      <form {...form}>
        <Field
          name="login"
          label={t("login.login")}
          autoComplete="username"
          problem={problems.login}
          maxLength={320}
        />
        <PasswordField
          name="old"
          label={t("form.password")}
          autoComplete="current-password"
          problem={problems.old}
        />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("login.submit")}
        </SubmitButton>
      </form>
    </EntryPage>
  );
}
