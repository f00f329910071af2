import { SlidersHorizontal } from "lucide-react";
import { Dialog } from "radix-ui";
import { useState } from "react";
import { useTranslation } from "react-i18next";
import { saveSystem, useStore } from "../state/store";
import { IconButton } from "./IconButton";

/** The system prompt of the open conversation. */
export function SystemDialog() {
  const { t } = useTranslation();
  const [open, setOpen] = useState(false);
  const system = useStore((state) =>
    state.open.id === null ? state.newSystem : (state.open.conversation?.system ?? ""),
  );
  return (
    <Dialog.Root open={open} onOpenChange={setOpen}>
      <Dialog.Trigger asChild>
        <IconButton
          icon={SlidersHorizontal}
          label={system === "" ? t("system.open") : t("system.active")}
          className={system === "" ? "" : "button-marked"}
        />
      </Dialog.Trigger>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog">
          <Dialog.Title className="dialog-title">{t("system.title")}</Dialog.Title>
          <Dialog.Description className="dialog-text">{t("system.text")}</Dialog.Description>
          <SystemForm system={system} onClose={() => setOpen(false)} />
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function SystemForm({ system, onClose }: { system: string; onClose: () => void }) {
  const { t } = useTranslation();
  const [value, setValue] = useState(system);
  const save = async () => {
    if (await saveSystem(value.trim())) onClose();
  };
  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <textarea
        className="field"
        rows={7}
        value={value}
        aria-label={t("system.label")}
        placeholder={t("system.placeholder")}
        onChange={(event) => setValue(event.target.value)}
      />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={onClose}>
          {t("system.cancel")}
        </button>
        <button type="submit" className="button button-accent">
          {t("system.save")}
        </button>
      </div>
    </form>
  );
}
