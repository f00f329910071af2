import { useState } from "react";
import { useTranslation } from "react-i18next";
import { security as api, type Passkey } from "../../api/security";
import type { Problem } from "../../state/account";
import { readAgent } from "../../state/agent";
import { addPasskey, passkeyNameProblem } from "../../state/passkey";
import { Field } from "./Field";
import { FormDialog } from "./FormDialog";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { IdentityDialog } from "./IdentityDialog";
import type { Standing } from "./useSecurity";
import { found, useSubmit } from "./useSubmit";

/** Makes a passkey, after one has said who one is. */
export function AddPasskey({ standing, onAdded }: { standing: Standing; onAdded: (added: Passkey) => void }) {
  const { t } = useTranslation();
  const { browser, system } = readAgent(navigator.userAgent);
  const here =
    browser !== null && system !== null ? t("sessions.agent", { browser, system }) : (system ?? "");
  return (
    <IdentityDialog
      standing={standing}
      trigger={
        <button type="button" className="button">
          {t("security.passkeys.add")}
        </button>
      }
      title={t("security.passkeys.addTitle")}
      text={t("security.passkeys.addText")}
      submit={t("security.passkeys.addSubmit")}
      check={({ name }) => found({ name: passkeyNameProblem(name) })}
      act={async (password, { name }) => onAdded(await addPasskey(name.trim(), password))}
    >
      {(problems) => <PasskeyNameField name={here} problem={problems.name} />}
    </IdentityDialog>
  );
}

/** What tells one's passkeys apart. */
function PasskeyNameField({ name, problem }: { name: string; problem: Problem | undefined }) {
  const { t } = useTranslation();
  return (
    <Field
      name="name"
      label={t("security.passkeys.name")}
      hint={t("security.passkeys.nameHint")}
      defaultValue={name}
      autoComplete="off"
      autoCapitalize="sentences"
      problem={problem}
    />
  );
}

interface Props {
  passkey: Passkey;
  onRenamed: (renamed: Passkey) => void;
}

export function RenamePasskey({ passkey, onRenamed }: Props) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  return (
    <FormDialog
      open={open}
      onOpenChange={setOpen}
      trigger={
        <button
          type="button"
          className="button"
          aria-label={t("security.passkeys.renameLabel", { name: passkey.name })}
        >
          {t("security.passkeys.rename")}
        </button>
      }
      title={t("security.passkeys.renameTitle")}
      text={t("security.passkeys.renameText")}
    >
      <RenameForm
        passkey={passkey}
        onClose={() => setOpen(false)}
        onRenamed={(renamed) => {
          onRenamed(renamed);
          setOpen(false);
        }}
      />
    </FormDialog>
  );
}

function RenameForm({ passkey, onRenamed, onClose }: Props & { onClose: () => void }) {
  const { t } = useTranslation();
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    ({ name }) => found({ name: passkeyNameProblem(name) }),
    async ({ name }) => onRenamed(await api.renamePasskey(passkey.id, name.trim())),
  );
  return (
    <form {...form}>
      <PasskeyNameField name={passkey.name} problem={problems.name} />
      <RefusalNote refusal={refusal} />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onClose}>
          {t("security.identity.cancel")}
        </button>
        <SubmitButton busy={busy} wait_s={wait_s}>
          {t("security.passkeys.rename")}
        </SubmitButton>
      </div>
    </form>
  );
}
