import { useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { SecondFactor } from "../../api/security";
import { signIn } from "../../state/registration";
import { pathVia, returnPath } from "../../state/route";
import { useSession } from "../../state/session";
import { GateBanner } from "../gate/GateBanner";
import { ProofLine } from "../gate/ProofLine";
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
  const [proof, setProof] = useState<number | null>(null);
  const working = useRef(new AbortController());
  useEffect(() => () => working.current.abort(), []);
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) =>
      found({
        login: values.login.trim() === "" ? "loginMissing" : null,
        old: values.old === "" ? "passwordMissing" : null,
      }),
    async (values) => {
      working.current = new AbortController();
      const { signal } = working.current;
      try {
        const second = await signIn(values.login.trim(), values.old, { signal, onProgress: setProof });
        if (second !== null) onSecond(second);
      } catch (error) {
        if (!signal.aborted) throw error;
      } finally {
        setProof(null);
      }
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
        {proof !== null && (
          <ProofLine
            progress={proof}
            text={t("gate.proof.signIn")}
            onCancel={() => working.current.abort(new DOMException("cancelled", "AbortError"))}
          />
        )}
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
