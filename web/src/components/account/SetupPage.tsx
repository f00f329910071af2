import { useState } from "react";
import { useTranslation } from "react-i18next";
import { tokenOf } from "../../state/route";
import { setUp } from "../../state/session";
import { EntryPage } from "./EntryPage";
import { Field } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { NewUserFields, newUserProblems } from "./NewUserFields";
import { found, useSubmit } from "./useSubmit";
import { useToken } from "./useToken";

/** The first visit: whoever holds the link from the terminal becomes the administrator. */
export function SetupPage() {
  const { t } = useTranslation();
  const given = useToken();
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) =>
      found({
        token: tokenOf(values.token) === "" ? "tokenMissing" : null,
        ...newUserProblems(values, false),
      }),
    (values) => setUp(tokenOf(values.token), { name: values.name.trim(), password: values.password }),
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
        <NewUserFields problems={problems} />
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("setup.submit")}
        </SubmitButton>
      </form>
    </EntryPage>
  );
}
