import { Dialog } from "radix-ui";
import { type FormEvent, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { ApiError } from "../../api/client";
import { type Key, programs } from "../../api/programs";
import { type KeyFields, type KeyProblem, keyChangeOf, keyFieldsOf, keyProblemOf } from "../../state/keys";
import { SubmitButton } from "../account/FormFoot";
import { Checks, Failed, Radios, Secret, TextField, useAction } from "../admin/parts";
import { useReturnFocus } from "../focus";

interface Props {
  editing: Key | "new" | null;
  /** The models that one may use. */
  models: readonly string[];
  currency: string;
  onClose: () => void;
  onSaved: () => void;
}

/** Makes a key, whose text it shows this once, or changes one. */
export function KeyDialog({ editing, models, currency, onClose, onSaved }: Props) {
  const { t } = useTranslation("programs");
  const focus = useReturnFocus();
  const [secret, setSecret] = useState<string | null>(null);
  // What is shown can't be seen again: only its own button closes it.
  const keep = (event: Event) => {
    if (secret !== null) event.preventDefault();
  };
  const close = () => {
    setSecret(null);
    onClose();
  };
  const title =
    secret !== null
      ? t("key.made")
      : editing === null || editing === "new"
        ? t("key.newTitle")
        : t("key.editTitle", { name: editing.name });
  return (
    <Dialog.Root open={editing !== null} onOpenChange={(now) => !now && close()}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content
          className="dialog"
          aria-describedby={undefined}
          onEscapeKeyDown={keep}
          onInteractOutside={keep}
          {...focus.events}
        >
          <Dialog.Title className="dialog-title">{title}</Dialog.Title>
          {secret !== null && <Made secret={secret} onClose={close} />}
          {secret === null && editing !== null && (
            <KeyForm
              of={editing === "new" ? null : editing}
              models={models}
              currency={currency}
              onClose={close}
              onMade={(made) => {
                setSecret(made);
                onSaved();
              }}
              onChanged={() => {
                onSaved();
                close();
              }}
            />
          )}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function Made({ secret, onClose }: { secret: string; onClose: () => void }) {
  const { t } = useTranslation("programs");
  const shown = useRef<HTMLDivElement>(null);
  // The button that was pressed is gone, and this one is what one needs now.
  useEffect(() => shown.current?.querySelector("button")?.focus(), []);
  return (
    <>
      <p className="dialog-text" role="status">
        {t("key.madeText")}
      </p>
      <div ref={shown}>
        <Secret value={secret} label={t("key.secret")} copy={t("key.copy")} />
      </div>
      <div className="dialog-buttons">
        <button type="button" className="button button-accent" onClick={onClose}>
          {t("key.done")}
        </button>
      </div>
    </>
  );
}

interface FormProps {
  of: Key | null;
  models: readonly string[];
  currency: string;
  onClose: () => void;
  onMade: (secret: string) => void;
  onChanged: () => void;
}

const numbers = ["requests_at_once", "requests_per_day", "tokens_per_day"] as const;

function KeyForm({ of: key, models, currency, onClose, onMade, onChanged }: FormProps) {
  const { t, i18n } = useTranslation("programs");
  const { t: admin } = useTranslation("admin");
  const form = useRef<HTMLFormElement>(null);
  const [fields, setFields] = useState<KeyFields>(() => keyFieldsOf(key));
  const [wrong, setWrong] = useState<KeyProblem | null>(null);
  const action = useAction(t);
  // What the key allows may not be there at the moment.
  const known = [...new Set([...models, ...(key?.models ?? [])])];
  const set = (change: Partial<KeyFields>) => setFields({ ...fields, ...change });
  const point = (problem: KeyProblem) => {
    setWrong(problem);
    if (problem !== "name") form.current?.querySelector("details")?.setAttribute("open", "");
    form.current?.querySelector<HTMLInputElement>(`input[name="${problem}"]`)?.focus();
  };
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const change = keyChangeOf(fields, key, Date.now(), i18n.language);
    if (typeof change === "string") return point(change);
    setWrong(null);
    void action.act("save", async () => {
      try {
        if (key === null) onMade((await programs.addKey(change)).secret);
        else {
          await programs.changeKey(key.id, change);
          onChanged();
        }
      } catch (error) {
        const problem = error instanceof ApiError && error.status === 422 ? keyProblemOf(error.param) : null;
        if (problem === null) throw error;
        point(problem);
      }
      return null;
    });
  };
  const text = (name: KeyProblem, hint?: string) => ({
    name,
    ...(hint === undefined ? {} : { hint }),
    label: t(`field.${name}`, { currency }),
    value: fields[name],
    problem: wrong === name ? t(`wrong.${name}`) : null,
    onChange: ({ target }: { target: HTMLInputElement }) => set({ [name]: target.value }),
  });
  return (
    <form ref={form} noValidate onSubmit={submit}>
      <TextField {...text("name", t("field.nameHint"))} maxLength={64} />
      <details className="more-fields" open={key !== null}>
        <summary>{t("field.more")}</summary>
        <TextField {...text("expires", t("field.expiresHint"))} type="date" />
        <Radios
          label={t("field.models")}
          choices={[
            { value: "all", name: admin("group.allModels") },
            { value: "some", name: admin("group.someModels") },
          ]}
          chosen={fields.all}
          onChoose={(all) => set({ all })}
        />
        {fields.all === "some" && (
          <Checks
            quiet
            label={admin("group.someModels")}
            choices={known.map((value) => ({ value, name: value }))}
            chosen={fields.models}
            onChoose={(chosen) => set({ models: chosen })}
          />
        )}
        <TextField {...text("spend_max", t("field.empty"))} inputMode="decimal" />
        {numbers.map((name) => (
          <TextField key={name} {...text(name, t("field.empty"))} inputMode="numeric" />
        ))}
        <TextField {...text("addresses", t("field.addressesHint"))} />
      </details>
      <Failed failure={action.failure} />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onClose}>
          {admin("cancel")}
        </button>
        <SubmitButton busy={action.busy !== null} wait_s={0}>
          {key === null ? t("key.submit") : admin("save")}
        </SubmitButton>
      </div>
    </form>
  );
}
