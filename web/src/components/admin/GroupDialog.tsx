import { Dialog } from "radix-ui";
import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { admin, EVERYONE, type Group, type Limits, type NewGroup } from "../../api/admin";
import { limitNames, limitsOf } from "../../state/admin";
import { SubmitButton } from "../account/FormFoot";
import { useReturnFocus } from "../focus";
import { Checks, Failed, Radios, TextField, useAction } from "./parts";

const NAME_LENGTH_MAX = 64;

interface Props {
  editing: Group | "new" | null;
  /** The models that there are. */
  models: readonly string[];
  onClose: () => void;
  onSaved: () => void;
}

export function GroupDialog({ editing, models, onClose, onSaved }: Props) {
  const { t } = useTranslation("admin");
  const focus = useReturnFocus();
  return (
    <Dialog.Root open={editing !== null} onOpenChange={(now) => !now && onClose()}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog" aria-describedby={undefined} {...focus.events}>
          <Dialog.Title className="dialog-title">
            {editing === null || editing === "new"
              ? t("group.newTitle")
              : t("group.editTitle", { name: editing.name })}
          </Dialog.Title>
          {editing !== null && (
            <GroupForm
              group={editing === "new" ? null : editing}
              models={models}
              onClose={onClose}
              onSaved={onSaved}
            />
          )}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

interface FormProps extends Omit<Props, "editing"> {
  group: Group | null;
}

const textsOf = (limits: Limits | undefined): Record<keyof Limits, string> => ({
  answers_at_once: String(limits?.answers_at_once ?? ""),
  messages_per_day: String(limits?.messages_per_day ?? ""),
  output_tokens_max: String(limits?.output_tokens_max ?? ""),
});

function GroupForm({ group, models, onClose, onSaved }: FormProps) {
  const { t } = useTranslation("admin");
  const [name, setName] = useState(group?.name ?? "");
  const [all, setAll] = useState<"all" | "some">(group !== null && group.models !== null ? "some" : "all");
  const [chosen, setChosen] = useState<readonly string[]>(group?.models ?? []);
  const [texts, setTexts] = useState(() => textsOf(group?.limits));
  const [wrong, setWrong] = useState<keyof Limits | "name" | null>(null);
  const action = useAction(t);
  // What the group allows may not be there at the moment.
  const known = [...new Set([...models, ...(group?.models ?? [])])];

  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const limits = limitsOf(texts);
    const { length } = [...name.trim()];
    const problem =
      length < 1 || length > NAME_LENGTH_MAX ? "name" : typeof limits === "string" ? limits : null;
    setWrong(problem);
    if (problem !== null || typeof limits === "string") {
      form.querySelector<HTMLInputElement>(`input[name="${problem}"]`)?.focus();
      return;
    }
    const given: NewGroup = { name: name.trim(), models: all === "all" ? null : [...chosen], limits };
    void action.act("save", async () => {
      await (group === null ? admin.addGroup(given) : admin.changeGroup(group.id, given));
      onSaved();
      onClose();
      return null;
    });
  };
  return (
    <form noValidate onSubmit={submit}>
      <TextField
        name="name"
        label={t("group.name")}
        value={name}
        readOnly={group?.id === EVERYONE}
        problem={wrong === "name" ? t("group.nameMissing") : null}
        onChange={(event) => setName(event.target.value)}
      />
      <Radios
        label={t("group.models")}
        choices={[
          { value: "all", name: t("group.allModels") },
          { value: "some", name: t("group.someModels") },
        ]}
        chosen={all}
        onChoose={setAll}
      />
      {all === "some" && (
        <Checks
          quiet
          label={t("group.someModels")}
          choices={known.map((value) => ({ value, name: value }))}
          chosen={chosen}
          onChoose={setChosen}
        />
      )}
      {limitNames.map((limit) => (
        <TextField
          key={limit}
          name={limit}
          inputMode="numeric"
          label={t(`group.${limit}`)}
          hint={t("group.limitHint")}
          value={texts[limit]}
          problem={wrong === limit ? t("group.limitWrong") : null}
          onChange={(event) => setTexts({ ...texts, [limit]: event.target.value })}
        />
      ))}
      <Failed failure={action.failure} />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onClose}>
          {t("cancel")}
        </button>
        <SubmitButton busy={action.busy !== null} wait_s={0}>
          {t("save")}
        </SubmitButton>
      </div>
    </form>
  );
}
