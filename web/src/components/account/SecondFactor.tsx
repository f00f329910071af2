import type { TFunction } from "i18next";
import { ShieldCheck } from "lucide-react";
import { useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { security as api } from "../../api/security";
import { useSaid, type Words } from "../useSaid";
import { Section } from "./AccountPage";
import { FormDialog } from "./FormDialog";
import { IdentityDialog, IdentityForm } from "./IdentityDialog";
import { RecoveryCodes } from "./RecoveryCodes";
import { TotpSetup } from "./TotpSetup";
import { useFocusAfter } from "./useFocusAfter";
import type { Standing } from "./useSecurity";

/** Below this many codes it is time for new ones. */
const CODES_LOW = 4;

/** The code besides the password: set up, renewed and turned off. */
export function SecondFactor({ standing }: { standing: Standing }) {
  const { t } = useTranslation();
  const [said, say] = useSaid(t);
  const row = useRef<HTMLFieldSetElement>(null);
  const focusRow = useFocusAfter(row);
  const { totp } = standing.security;
  const change = (changed: Partial<Standing["security"]>, done: Words<TFunction>) => {
    standing.onChange(changed);
    say(done);
    focusRow();
  };
  return (
    <Section title={t("security.totp.title")} text={t("security.totp.text")}>
      {totp && <TotpState left={standing.security.recovery_codes_left} />}
      <fieldset className="button-row" ref={row} tabIndex={-1} aria-label={t("security.totp.title")}>
        {totp ? (
          <>
            <NewCodes
              standing={standing}
              onDone={(count) => change({ recovery_codes_left: count }, (t) => t("security.codes.renewed"))}
            />
            <IdentityDialog
              standing={standing}
              trigger={
                <button type="button" className="button">
                  {t("security.totp.off")}
                </button>
              }
              title={t("security.totp.offTitle")}
              text={t("security.totp.offText")}
              submit={t("security.totp.offSubmit")}
              danger
              act={async (password) => {
                await api.removeTotp(password);
                change({ totp: false, recovery_codes_left: 0 }, (t) => t("security.totp.turnedOff"));
              }}
            />
          </>
        ) : (
          <TotpSetup
            standing={standing}
            onDone={(count) =>
              change({ totp: true, recovery_codes_left: count }, (t) => t("security.totp.turnedOn"))
            }
          />
        )}
      </fieldset>
      <p className="account-said" role="status">
        {said}
      </p>
    </Section>
  );
}

function TotpState({ left }: { left: number }) {
  const { t } = useTranslation();
  return (
    <div className="totp-state">
      <ShieldCheck size={22} aria-hidden className="shrink-0" />
      <div>
        <p className="device-name">{t("security.totp.on")}</p>
        <p className={left < CODES_LOW ? "device-facts totp-low" : "device-facts"}>
          {t("security.codes.left", { count: left })}
        </p>
      </div>
    </div>
  );
}

/** New recovery codes in the place of all the old ones. */
function NewCodes({ standing, onDone }: { standing: Standing; onDone: (count: number) => void }) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const [codes, setCodes] = useState<readonly string[] | null>(null);
  const done = () => {
    setOpen(false);
    setCodes(null);
    onDone(codes?.length ?? 0);
  };
  return (
    <FormDialog
      open={open}
      onOpenChange={setOpen}
      trigger={
        <button type="button" className="button">
          {t("security.codes.renew")}
        </button>
      }
      title={t(codes === null ? "security.codes.renewTitle" : "security.codes.title")}
      text={t(codes === null ? "security.codes.renewText" : "security.codes.text")}
      held={codes !== null}
    >
      {codes === null ? (
        <IdentityForm
          standing={standing}
          submit={t("security.codes.renewSubmit")}
          act={async (password) => setCodes((await api.newRecoveryCodes(password)).recovery_codes)}
          onCancel={() => setOpen(false)}
        />
      ) : (
        <RecoveryCodes codes={codes} name={standing.user.name} onDone={done} />
      )}
    </FormDialog>
  );
}
