import { type FormEvent, useState } from "react";
import { useTranslation } from "react-i18next";
import { type Gate, keeper, type Level, levels } from "../../api/gate";
import { useSession } from "../../state/session";
import { Section } from "../account/AccountPage";
import { SubmitButton } from "../account/FormFoot";
import { ActionButton, Outcome, Radios, TextField, useAction, useQuestion } from "./parts";

const REASON_LENGTH_MAX = 200;

const warnings: Readonly<Partial<Record<Level, "openWarning" | "closedWarning" | "pausedWarning">>> = {
  open: "openWarning",
  invite_only: "closedWarning",
  suspended: "pausedWarning",
};

/** Holds the gate at a level, or lets it run. */
export function PinGate({ pin, onChanged }: { pin: Level | null; onChanged: (gate: Gate) => void }) {
  const { t } = useTranslation("admin");
  const { t: words } = useTranslation();
  const mail = useSession((state) => state.mail);
  const [level, setLevel] = useState<Level>(pin ?? "challenge");
  const [reason, setReason] = useState("");
  const action = useAction(t);
  const { ask, dialog } = useQuestion();
  const long = [...reason.trim()].length > REASON_LENGTH_MAX;
  const name = words(`gate.level.${level}`);
  const hold = () =>
    action.act("pin", async () => {
      onChanged(await keeper.pin(level, reason.trim()));
      setReason("");
      return (t) => t("door.pinned", { level: name });
    });
  const run = () =>
    action.act("run", async () => {
      onChanged(await keeper.pin(null, reason.trim()));
      setReason("");
      return (t) => t("door.unpinned");
    });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (long) return;
    ask({
      title: t("door.pinQuestion", { level: name }),
      text: t(`door.${warnings[level] ?? "pinWarning"}`),
      confirm: t("door.pinConfirm"),
      act: () => void hold(),
    });
  };
  return (
    <Section title={t("door.pin")} text={t("door.pinText")}>
      <form noValidate className="account-form" onSubmit={submit}>
        <Radios
          label={t("door.level")}
          choices={levels
            // Where no letters are sent, nobody could show that an address is theirs.
            .filter((value) => mail || value !== "email_first")
            .map((value) => ({ value, name: words(`gate.level.${value}`) }))}
          chosen={level}
          onChoose={setLevel}
        />
        <TextField
          name="reason"
          label={t("door.reason")}
          hint={t("door.reasonHint")}
          value={reason}
          problem={long ? t("door.reasonWrong") : null}
          onChange={({ target }) => setReason(target.value)}
        />
        <div className="admin-buttons">
          <SubmitButton busy={action.busy === "pin"} wait_s={0}>
            {t("door.pinSubmit")}
          </SubmitButton>
          {pin !== null && (
            <ActionButton action={action} name="run" onPress={() => void run()}>
              {t("door.run")}
            </ActionButton>
          )}
        </div>
        <Outcome action={action} />
      </form>
      {dialog}
    </Section>
  );
}
