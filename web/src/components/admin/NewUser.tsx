import { Dialog } from "radix-ui";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { type Account, admin, type Group, type Role } from "../../api/admin";
import { emailProblem, nameProblem } from "../../state/account";
import { adminPath } from "../../state/route";
import { go } from "../../state/session";
import { Field } from "../account/Field";
import { RefusalNote, SubmitButton } from "../account/FormFoot";
import { found, useSubmit } from "../account/useSubmit";
import { useReturnFocus } from "../focus";
import { GroupChecks, RoleRadios } from "./Access";
import { Secret } from "./parts";
import { useLoaded } from "./useLoaded";

interface Props {
  open: boolean;
  onClose: () => void;
  onMade: () => void;
}

interface Made {
  user: Account;
  password: string;
}

export function NewUser({ open, onClose, onMade }: Props) {
  const [made, setMade] = useState<Made | null>(null);
  const focus = useReturnFocus();
  const close = () => {
    onClose();
    setMade(null);
  };
  // A password that is told once isn't to be lost by a slip.
  const hold = (event: Event) => made !== null && event.preventDefault();
  return (
    <Dialog.Root open={open} onOpenChange={(now) => !now && close()}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog" onEscapeKeyDown={hold} onInteractOutside={hold} {...focus.events}>
          {made === null ? (
            <NewUserForm
              onClose={close}
              onMade={(user, password) => {
                onMade();
                if (password === undefined) close();
                else setMade({ user, password });
              }}
            />
          ) : (
            <MadeUser made={made} onClose={close} />
          )}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function MadeUser({ made: { user, password }, onClose }: { made: Made; onClose: () => void }) {
  const { t } = useTranslation("admin");
  return (
    <>
      <Dialog.Title className="dialog-title">{t("newUser.made")}</Dialog.Title>
      <Dialog.Description className="dialog-text">
        {t("newUser.madeText", { name: user.name })}
      </Dialog.Description>
      <Secret value={password} />
      <div className="dialog-buttons">
        <button
          type="button"
          className="button"
          onClick={() => go(adminPath({ part: "users", user: user.id }))}
        >
          {t("newUser.show")}
        </button>
        {/* biome-ignore lint/a11y/noAutofocus: the form that had the focus is gone */}
        <button type="button" className="button button-accent" autoFocus onClick={onClose}>
          {t("newUser.done")}
        </button>
      </div>
    </>
  );
}

interface FormProps {
  onClose: () => void;
  onMade: (user: Account, password: string | undefined) => void;
}

function NewUserForm({ onClose, onMade }: FormProps) {
  const { t } = useTranslation();
  const { t: texts } = useTranslation("admin");
  const { loaded } = useLoaded<Group[]>(async () => (await admin.groups()).groups);
  const [role, setRole] = useState<Role>("user");
  const [groups, setGroups] = useState<string[]>([]);
  const { form, problems, refusal, busy, wait_s } = useSubmit(
    (values) => found({ name: nameProblem(values.name), email: emailProblem(values.email) }),
    async (values) => {
      const email = values.email.trim();
      const name = values.name.trim();
      const { user, password } = await admin.addUser({
        name,
        role,
        groups,
        ...(email === "" ? {} : { email }),
      });
      onMade(user, password);
    },
  );
  return (
    <form {...form}>
      <Dialog.Title className="dialog-title">{texts("newUser.title")}</Dialog.Title>
      <Dialog.Description className="dialog-text">{texts("newUser.text")}</Dialog.Description>
      <Field
        name="name"
        label={t("form.name")}
        hint={t("form.nameHint")}
        autoComplete="off"
        problem={problems.name}
      />
      <Field
        name="email"
        type="email"
        inputMode="email"
        label={t("form.email")}
        autoComplete="off"
        required={false}
        problem={problems.email}
      />
      <RoleRadios role={role} onChoose={setRole} />
      {loaded.state === "ready" && <GroupChecks groups={loaded.value} chosen={groups} onChoose={setGroups} />}
      <RefusalNote refusal={refusal} />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onClose}>
          {texts("cancel")}
        </button>
        <SubmitButton busy={busy} wait_s={wait_s}>
          {texts("newUser.submit")}
        </SubmitButton>
      </div>
    </form>
  );
}
