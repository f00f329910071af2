import { useTranslation } from "react-i18next";
import type { NewUser } from "../../api/client";
import { emailProblem, nameProblem, newPasswordProblem } from "../../state/account";
import { pathVia, returnPath } from "../../state/route";
import { signUp } from "../../state/session";
import { EntryPage, PageLink } from "./EntryPage";
import { Field, PasswordField } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { found, useSubmit, type Values } from "./useSubmit";

function userOf({ name, email, password }: Values): NewUser {
  const address = email.trim();
  return { name: name.trim(), password, ...(address === "" ? {} : { email: address }) };
}

export function SignUpPage() {
  const { t } = useTranslation();
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) =>
      found({
        name: nameProblem(values.name),
        email: emailProblem(values.email),
        password: newPasswordProblem(values.password),
      }),
    (values) => signUp(userOf(values)),
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
        <Field
          name="name"
          label={t("form.name")}
          hint={t("form.nameHint")}
          autoComplete="username"
          problem={problems.name}
        />
        <Field
          name="email"
          type="email"
          inputMode="email"
          label={t("form.email")}
          hint={t("form.emailHint")}
          autoComplete="email"
          required={false}
          problem={problems.email}
        />
        <PasswordField
          name="password"
          label={t("form.password")}
          hint={t("form.passwordHint")}
          autoComplete="new-password"
          problem={problems.password}
        />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("signUp.submit")}
        </SubmitButton>
      </form>
    </EntryPage>
  );
}
