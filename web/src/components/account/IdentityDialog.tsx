import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Password } from "../../api/security";
import { PasswordField } from "./Field";
import { FormDialog } from "./FormDialog";
import { RefusalNote, SubmitButton } from "./FormFoot";
import type { Standing } from "./useSecurity";
import { found, type Problems, useSubmit, type Values } from "./useSubmit";

interface FormProps {
  standing: Pick<Standing, "user" | "security">;
  submit: string;
  danger?: boolean;
  /** What is wrong with the form's own fields. */
  check?: (values: Values) => Problems;
  /** What is done once the password was given; whoever has none has to have signed in lately, which the server knows. */
  act: (password: Password, values: Values) => Promise<void>;
  onCancel: () => void;
  /** The fields besides the password. */
  children?: (problems: Problems) => ReactNode;
}

/** Asks for the password again, before something is done that a stranger at this screen must not do. */
export function IdentityForm({
  standing,
  submit,
  danger = false,
  check,
  act,
  onCancel,
  children,
}: FormProps) {
  const { t } = useTranslation();
  const asked = standing.security.password;
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) => ({
      ...check?.(values),
      ...found({ old: asked && values.old === "" ? "passwordMissing" : null }),
    }),
    (values) => act(asked ? values.old : undefined, values),
  );
  return (
    <form {...form}>
      {children?.(problems)}
      {asked && (
        <>
          <UserNameForKeepers name={standing.user.name} />
          <PasswordField
            name="old"
            label={t("security.identity.password")}
            autoComplete="current-password"
            problem={problems.old}
          />
        </>
      )}
      <RefusalNote refusal={refusal} />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onCancel}>
          {t("security.identity.cancel")}
        </button>
        <SubmitButton busy={busy} wait_s={wait_s} danger={danger}>
          {submit}
        </SubmitButton>
      </div>
    </form>
  );
}

/** Tells password keepers whose password it is. */
export function UserNameForKeepers({ name }: { name: string }) {
  return <input type="text" autoComplete="username" value={name} readOnly hidden />;
}

interface Props extends Omit<FormProps, "onCancel"> {
  trigger: ReactNode;
  title: string;
  text: string;
}

/** A button's dialog that does one thing, and closes when it is done. */
export function IdentityDialog({ trigger, title, text, act, ...form }: Props) {
  const [open, setOpen] = useState(false);
  return (
    <FormDialog
      open={open}
      onOpenChange={setOpen}
      trigger={trigger}
      title={title}
      text={text}
      danger={form.danger === true}
    >
      <IdentityForm
        {...form}
        act={async (password, values) => {
          await act(password, values);
          setOpen(false);
        }}
        onCancel={() => setOpen(false)}
      />
    </FormDialog>
  );
}
