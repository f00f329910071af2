import { useState } from "react";
import { useTranslation } from "react-i18next";
import { api } from "../../api/client";
import { newPasswordProblem, type Problem } from "../../state/account";
import { Section } from "./AccountPage";
import { PasswordField } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { found, useSubmit, type Values } from "./useSubmit";

function chosenProblem({ old, password }: Values): Problem | null {
  return newPasswordProblem(password) ?? (old === password ? "passwordSame" : null);
}

export function ChangePassword({ name, onChanged }: { name: string; onChanged: () => void }) {
  const { t } = useTranslation();
  const [changed, setChanged] = useState(false);
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) => {
      setChanged(false);
      return found({
        old: values.old === "" ? "passwordMissing" : null,
        password: chosenProblem(values),
      });
    },
    async (values) => {
      await api.changePassword(values.old, values.password);
      form.ref.current?.reset();
      setChanged(true);
      onChanged();
    },
  );
  return (
    <Section title={t("password.title")} text={t("password.text")}>
      <form {...form} className="account-form">
        <UserNameForKeepers name={name} />
        <PasswordField
          name="old"
          label={t("password.old")}
          autoComplete="current-password"
          problem={problems.old}
        />
        <PasswordField
          name="password"
          label={t("password.new")}
          hint={t("form.passwordHint")}
          autoComplete="new-password"
          problem={problems.password}
        />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("password.submit")}
        </SubmitButton>
        <p className="account-said" role="status">
          {changed ? t("password.changed") : ""}
        </p>
      </form>
    </Section>
  );
}

/** Tells password keepers whose password it is. */
export function UserNameForKeepers({ name }: { name: string }) {
  return <input type="text" autoComplete="username" value={name} readOnly hidden />;
}
