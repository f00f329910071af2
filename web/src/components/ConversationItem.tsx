import { Ellipsis, Pencil, Trash2 } from "lucide-react";
import { memo, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Conversation } from "../api/types";
import { pathOf } from "../state/route";
import { openConversation, remove, rename } from "../state/store";
import { Confirm } from "./Confirm";
import { Menu, MenuItem } from "./Menu";

const TITLE_LENGTH_MAX = 200;

interface Props {
  conversation: Conversation;
  current: boolean;
  onChosen: () => void;
}

export const ConversationItem = memo(function ConversationItem({ conversation, current, onChosen }: Props) {
  const { t } = useTranslation();
  const [renaming, setRenaming] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const link = useRef<HTMLAnchorElement>(null);
  const title = conversation.title === "" ? t("sidebar.untitled") : conversation.title;
  if (renaming) {
    return (
      <li>
        <TitleField
          title={conversation.title}
          onDone={(changed) => {
            setRenaming(false);
            if (changed !== null) void rename(conversation.id, changed);
            requestAnimationFrame(() => link.current?.focus());
          }}
        />
      </li>
    );
  }
  return (
    <li className="side-item" data-current={current}>
      <a
        ref={link}
        href={pathOf(conversation.id)}
        aria-current={current ? "page" : undefined}
        title={title}
        onClick={(event) => {
          if (event.metaKey || event.ctrlKey || event.shiftKey) return;
          event.preventDefault();
          void openConversation(conversation.id);
          onChosen();
        }}
      >
        {title}
      </a>
      <Menu
        trigger={
          <button type="button" className="side-item-menu" aria-label={t("sidebar.actions", { title })}>
            <Ellipsis size={17} aria-hidden />
          </button>
        }
        onCloseAutoFocus={(event) => {
          // What was chosen takes the focus: the field, or the question.
          if (renaming || deleting) event.preventDefault();
        }}
      >
        <MenuItem onSelect={() => setRenaming(true)}>
          <Pencil size={16} aria-hidden />
          {t("sidebar.rename")}
        </MenuItem>
        <MenuItem danger onSelect={() => setDeleting(true)}>
          <Trash2 size={16} aria-hidden />
          {t("sidebar.delete")}
        </MenuItem>
      </Menu>
      <Confirm
        open={deleting}
        title={t("deletion.title")}
        text={t("deletion.text", { title })}
        confirm={t("deletion.confirm")}
        cancel={t("deletion.cancel")}
        onConfirm={() => void remove(conversation.id)}
        onClose={() => setDeleting(false)}
        returnFocus={() =>
          (link.current?.isConnected ? link.current : document.getElementById("composer"))?.focus()
        }
      />
    </li>
  );
});

function TitleField({ title, onDone }: { title: string; onDone: (changed: string | null) => void }) {
  const { t } = useTranslation();
  const [value, setValue] = useState(title);
  const finished = useRef(false);
  const finish = (keep: boolean) => {
    if (finished.current) return;
    finished.current = true;
    const changed = value.trim();
    onDone(keep && changed !== "" && changed !== title ? changed : null);
  };
  return (
    <input
      className="side-rename"
      value={value}
      maxLength={TITLE_LENGTH_MAX}
      aria-label={t("sidebar.newName")}
      ref={(element) => {
        // After the menu has given the focus back.
        if (element !== null && document.activeElement !== element)
          requestAnimationFrame(() => element.select());
      }}
      onChange={(event) => setValue(event.target.value)}
      onBlur={() => finish(true)}
      onKeyDown={(event) => {
        if (event.nativeEvent.isComposing) return;
        if (event.key === "Enter") finish(true);
        if (event.key === "Escape") {
          event.stopPropagation();
          finish(false);
        }
      }}
    />
  );
}
