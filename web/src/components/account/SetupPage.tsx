import { useState, useSyncExternalStore } from "react";
import { useTranslation } from "react-i18next";
import { nameProblem, newPasswordProblem } from "../../state/account";
import { setupToken } from "../../state/route";
import { setUp } from "../../state/session";
import { EntryPage } from "./EntryPage";
import { Field, PasswordField } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { found, useSubmit } from "./useSubmit";

/** The token of the address. It stands behind `#`, so that it reaches no server's or proxy's log. */
function useTokenOfAddress(): string {
  return useSyncExternalStore(
    (onChange) => {
      window.addEventListener("hashchange", onChange);
      return () => window.removeEventListener("hashchange", onChange);
    },
    () => setupToken(window.location.hash),
  );
}

/** The first visit: whoever holds the link from the terminal becomes the administrator. */
export function SetupPage() {
  const { t } = useTranslation();
  const given = useTokenOfAddress();
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) =>
      found({
        token: setupToken(values.token) === "" ? "tokenMissing" : null,
        name: nameProblem(values.name),
        password: newPasswordProblem(values.password),
      }),
    (values) => setUp(setupToken(values.token), { name: values.name.trim(), password: values.password }),
  );
  // A link that the server refuses can be replaced by another one.
  const [refused, setRefused] = useState(false);
  if (problems.token !== undefined && !refused) setRefused(true);
  return (
    <EntryPage title={t("setup.title")} text={t("setup.text")}>
      <form {...form}>
        {given === "" || refused ? (
          <Field
            key={given}
            name="token"
            label={t("setup.token")}
            hint={t("setup.tokenHint")}
            autoComplete="off"
            defaultValue={given}
            problem={problems.token}
          />
        ) : (
          <input type="hidden" name="token" value={given} />
        )}
        <Field
          name="name"
          label={t("form.name")}
          hint={t("form.nameHint")}
          autoComplete="username"
          problem={problems.name}
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
          {t("setup.submit")}
        </SubmitButton>
      </form>
    </EntryPage>
  );
}
