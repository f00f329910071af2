import { useTranslation } from "react-i18next";
import { security as api } from "../../api/security";
import { newPasswordProblem, type Problem } from "../../state/account";
import { useSaid } from "../useSaid";
import { Section } from "./AccountPage";
import { PasswordField } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { UserNameForKeepers } from "./IdentityDialog";
import type { Standing } from "./useSecurity";
import { found, useSubmit, type Values } from "./useSubmit";

function chosenProblem({ old, password }: Values): Problem | null {
  return newPasswordProblem(password) ?? (old === password ? "passwordSame" : null);
}

/** Changes the password, or sets the first one of somebody who came without. */
export function ChangePassword({ standing, onSessions }: { standing: Standing; onSessions: () => void }) {
  const { t } = useTranslation();
  const [said, say] = useSaid(t);
  const held = standing.security.password;
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) => {
      say(null);
      return found({
        old: held && values.old === "" ? "passwordMissing" : null,
        password: chosenProblem(values),
      });
    },
    async (values) => {
      await api.changePassword(held ? values.old : undefined, values.password);
      form.ref.current?.reset();
      say((t) => t(held ? "password.changed" : "security.password.set"));
      standing.onChange({ password: true });
      onSessions();
    },
  );
  return (
    <Section
      title={t(held ? "password.title" : "security.password.title")}
      text={t(held ? "password.text" : "security.password.text")}
    >
      <form {...form} className="account-form">
        <UserNameForKeepers name={standing.user.name} />
        {held && (
          <PasswordField
            name="old"
            label={t("password.old")}
            autoComplete="current-password"
            problem={problems.old}
          />
        )}
        <PasswordField
          name="password"
          label={t("password.new")}
          hint={t("form.passwordHint")}
          autoComplete="new-password"
          problem={problems.password}
        />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t(held ? "password.submit" : "security.password.submit")}
        </SubmitButton>
        <p className="account-said" role="status">
          {said}
        </p>
      </form>
    </Section>
  );
}
