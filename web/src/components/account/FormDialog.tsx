import { TriangleAlert } from "lucide-react";
import { Dialog } from "radix-ui";
import type { ReactNode } from "react";

interface Props {
  open: boolean;
  onOpenChange: (open: boolean) => void;
  trigger: ReactNode;
  title: string;
  text: string;
  /** The text is a warning. */
  danger?: boolean;
  /** Only a button of its own closes it: what it shows can't be seen again. */
  held?: boolean;
  children: ReactNode;
}

/** The frame of a dialog with a form in it. */
export function FormDialog({
  open,
  onOpenChange,
  trigger,
  title,
  text,
  danger = false,
  held = false,
  children,
}: Props) {
  const keep = (event: Event) => {
    if (held) event.preventDefault();
  };
  return (
    <Dialog.Root open={open} onOpenChange={onOpenChange}>
      <Dialog.Trigger asChild>{trigger}</Dialog.Trigger>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog" onEscapeKeyDown={keep} onInteractOutside={keep}>
          <Dialog.Title className="dialog-title">{title}</Dialog.Title>
          <Dialog.Description className={danger ? "note note-danger" : "dialog-text"}>
            {danger && <TriangleAlert size={18} aria-hidden className="shrink-0" />}
            {text}
          </Dialog.Description>
          {children}
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}
