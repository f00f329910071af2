import { useState } from "react";
import { useTranslation } from "react-i18next";
import type { SecondFactor } from "../../api/security";
import { pathVia, returnPath } from "../../state/route";
import { login, useSession } from "../../state/session";
import { GateBanner } from "../gate/GateBanner";
import { EntryPage, PageLink } from "./EntryPage";
import { Field, PasswordField } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { OtherWays } from "./OtherWays";
import { ProviderNote } from "./ProviderNote";
import { SecondFactorPage } from "./SecondFactorPage";
import { found, useSubmit } from "./useSubmit";

export function LoginPage() {
  const [second, setSecond] = useState<SecondFactor | null>(null);
  return second === null ? (
    <PasswordPage onSecond={setSecond} />
  ) : (
    <SecondFactorPage ticket={second.ticket} onBack={() => setSecond(null)} />
  );
}

function PasswordPage({ onSecond }: { onSecond: (second: SecondFactor) => void }) {
  const { t } = useTranslation();
  const mail = useSession((state) => state.mail);
  const passkeys = useSession((state) => state.passkeys);
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) =>
      found({
        login: values.login.trim() === "" ? "loginMissing" : null,
        old: values.old === "" ? "passwordMissing" : null,
      }),
    async (values) => {
      const second = await login(values.login.trim(), values.old);
      if (second !== null) onSecond(second);
    },
  );
  return (
    <EntryPage title={t("login.title")} foot={<SignUpInvitation />}>
      <GateBanner on="login" />
      <ProviderNote />
      <form {...form}>
        <Field
          name="login"
          label={t("login.login")}
          autoComplete={passkeys ? "username webauthn" : "username"}
          problem={problems.login}
          maxLength={320}
        />
        <PasswordField
          name="old"
          label={t("form.password")}
          autoComplete="current-password"
          problem={problems.old}
        />
        {mail && (
          <p className="form-aside">
            <PageLink href="/reset">{t("security.login.forgot")}</PageLink>
          </p>
        )}
        <RefusalNote refusal={refusal} />
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("login.submit")}
        </SubmitButton>
      </form>
      <OtherWays />
    </EntryPage>
  );
}

function SignUpInvitation() {
  const { t } = useTranslation();
  const canSignUp = useSession((state) => state.sign_up);
  if (!canSignUp) return <p>{t("login.closed")}</p>;
  const signUp = pathVia("/sign-up", returnPath(window.location.search));
  return (
    <p>
      {t("login.noAccount")} <PageLink href={signUp}>{t("login.signUp")}</PageLink>
    </p>
  );
}
