import { TriangleAlert } from "lucide-react";
import { Dialog } from "radix-ui";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { deleteAccount } from "../../state/session";
import { Section } from "./AccountPage";
import { UserNameForKeepers } from "./ChangePassword";
import { PasswordField } from "./Field";
import { RefusalNote, SubmitButton } from "./FormFoot";
import { found, useSubmit } from "./useSubmit";

export function DeleteAccount({ name }: { name: string }) {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  return (
    <Section title={t("accountDeletion.title")} text={t("accountDeletion.text")}>
      <Dialog.Root open={open} onOpenChange={setOpen}>
        <Dialog.Trigger asChild>
          <button type="button" className="button button-danger">
            {t("accountDeletion.open")}
          </button>
        </Dialog.Trigger>
        <Dialog.Portal>
          <Dialog.Overlay className="overlay" />
          <Dialog.Content className="dialog">
            <Dialog.Title className="dialog-title">{t("accountDeletion.question", { name })}</Dialog.Title>
            <Dialog.Description className="note note-danger">
              <TriangleAlert size={18} aria-hidden className="shrink-0" />
              {t("accountDeletion.warning")}
            </Dialog.Description>
            <DeleteForm name={name} onClose={() => setOpen(false)} />
          </Dialog.Content>
        </Dialog.Portal>
      </Dialog.Root>
    </Section>
  );
}

function DeleteForm({ name, onClose }: { name: string; onClose: () => void }) {
  const { t } = useTranslation();
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) => found({ old: values.old === "" ? "passwordMissing" : null }),
    (values) => deleteAccount(values.old),
  );
  return (
    <form {...form}>
      <UserNameForKeepers name={name} />
      <PasswordField
        name="old"
        label={t("accountDeletion.password")}
        autoComplete="current-password"
        problem={problems.old}
      />
      <RefusalNote refusal={refusal} />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onClose}>
          {t("accountDeletion.cancel")}
        </button>
        <SubmitButton busy={busy} wait_s={wait_s} danger>
          {t("accountDeletion.submit")}
        </SubmitButton>
      </div>
    </form>
  );
}
