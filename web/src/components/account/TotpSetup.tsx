import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { security as api, type TotpSetup as Setup } from "../../api/security";
import { codeOf, codeProblem } from "../../state/account";
import { CopyButton } from "../CopyButton";
import { CodeField } from "./Field";
import { FormDialog } from "./FormDialog";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { IdentityForm } from "./IdentityDialog";
import { QrCode } from "./QrCode";
import { RecoveryCodes } from "./RecoveryCodes";
import type { Standing } from "./useSecurity";
import { found, useSubmit } from "./useSubmit";

type Step =
  | { name: "identity" }
  | { name: "scan"; setup: Setup }
  | { name: "codes"; codes: readonly string[] };

const first: Step = { name: "identity" };

interface Props {
  standing: Standing;
  /** With the number of recovery codes there are now. */
  onDone: (count: number) => void;
}

/** Who one is, then the secret into an app and its first code back, then the recovery codes. */
export function TotpSetup({ standing, onDone }: Props) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const [step, setStep] = useState<Step>(first);
  const change = (now: boolean) => {
    setOpen(now);
    // A secret that was begun with and left is shown to nobody again.
    if (!now) setStep(first);
  };
  return (
    <FormDialog
      open={open}
      onOpenChange={change}
      trigger={
        <button type="button" className="button">
          {t("security.totp.setUp")}
        </button>
      }
      title={t(step.name === "codes" ? "security.codes.title" : "security.totp.setUpTitle")}
      text={t(textOf(step))}
      held={step.name === "codes"}
    >
      {step.name === "identity" && (
        <IdentityForm
          standing={standing}
          submit={t("security.totp.next")}
          act={async (password) => setStep({ name: "scan", setup: await api.beginTotp(password) })}
          onCancel={() => change(false)}
        />
      )}
      {step.name === "scan" && (
        <Scan
          setup={step.setup}
          onCodes={(codes) => setStep({ name: "codes", codes })}
          onCancel={() => change(false)}
        />
      )}
      {step.name === "codes" && (
        <RecoveryCodes
          codes={step.codes}
          name={standing.user.name}
          onDone={() => {
            change(false);
            onDone(step.codes.length);
          }}
        />
      )}
    </FormDialog>
  );
}

const textOf = ({ name }: Step) =>
  name === "codes"
    ? "security.codes.text"
    : name === "scan"
      ? "security.totp.scanText"
      : "security.totp.identityText";

interface ScanProps {
  setup: Setup;
  onCodes: (codes: readonly string[]) => void;
  onCancel: () => void;
}

/** The secret in fours, as one types it. */
const inFours = (secret: string): string => secret.replace(/.{4}(?=.)/gu, "$& ");

function Scan({ setup, onCodes, onCancel }: ScanProps) {
  const { t } = useTranslation();
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    ({ code }) => found({ code: codeProblem(code) }),
    async ({ code }) => onCodes((await api.confirmTotp(setup.ticket, codeOf(code))).recovery_codes),
  );
  const formElement = form.ref;
  useEffect(() => formElement.current?.querySelector("input")?.focus(), [formElement]);
  return (
    <form {...form}>
      <div className="totp-scan">
        <QrCode text={setup.uri} label={t("security.totp.picture")} />
        <div className="min-w-0">
          <p className="totp-secret-label">{t("security.totp.secret")}</p>
          <p className="totp-secret" translate="no">
            {inFours(setup.secret)}
          </p>
          <CopyButton text={setup.secret} label={t("security.totp.copySecret")} showLabel />
          <p>
            <a className="link totp-link" href={setup.uri}>
              {t("security.totp.openApp")}
            </a>
          </p>
        </div>
      </div>
      <CodeField label={t("security.second.code")} digits problem={problems.code} />
      <RefusalNote refusal={refusal} />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onCancel}>
          {t("security.identity.cancel")}
        </button>
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("security.totp.submit")}
        </SubmitButton>
      </div>
    </form>
  );
}
