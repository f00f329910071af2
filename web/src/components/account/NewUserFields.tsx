import { useTranslation } from "react-i18next";
import { nameProblem, neededEmailProblem, newPasswordProblem } from "../../state/account";
import { EmailField, Field, PasswordField } from "./Field";
import type { Problems, Values } from "./useSubmit";

/** What is wrong with what a new user says of themselves; `email` says whether an address is asked for. */
export const newUserProblems = (values: Values, email: boolean) => ({
  name: nameProblem(values.name),
  email: email ? neededEmailProblem(values.email) : null,
  password: newPasswordProblem(values.password),
});

interface Props {
  problems: Problems;
  /** An address is asked for. */
  email?: boolean;
  /** What was entered before the page was loaded anew. */
  before?: { name?: string; email?: string };
}

/** What a new user enters, whoever they are. */
export function NewUserFields({ problems, email = false, before = {} }: Props) {
  const { t } = useTranslation();
  return (
    <>
      <Field
        name="name"
        label={t("form.name")}
        hint={t("form.nameHint")}
        autoComplete="username"
        defaultValue={before.name}
        problem={problems.name}
      />
      {email && (
        <EmailField
          label={t("form.email")}
          hint={t("form.emailHint")}
          defaultValue={before.email}
          problem={problems.email}
        />
      )}
      <PasswordField
        name="password"
        label={t("form.password")}
        hint={t("form.passwordHint")}
        autoComplete="new-password"
        problem={problems.password}
      />
    </>
  );
}
