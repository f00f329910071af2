import { Pencil } from "lucide-react";
import { memo, useState } from "react";
import { useTranslation } from "react-i18next";
import { edit, startEditing, useStore } from "../state/store";
import { isSendKey, useGrowing } from "./Composer";
import { CopyButton } from "./CopyButton";
import { focusComposer, focusNext } from "./focus";
import { IconButton } from "./IconButton";
import { Versions } from "./Versions";

interface Props {
  id: string;
  versions: readonly string[];
  /** An answer is being written, so that nothing can be asked. */
  locked: boolean;
}

export const UserMessage = memo(function UserMessage({ id, versions, locked }: Props) {
  const { t } = useTranslation();
  const content = useStore((state) => state.open.messages.byId[id]?.content ?? "");
  const edited = useStore((state) => (state.open.editing?.id === id ? state.open.editing.text : null));
  return (
    <article className="message message-user" data-message={id}>
      <h2 className="sr-only">{t("message.you")}</h2>
      {edited !== null ? (
        <Editor id={id} initial={edited} locked={locked} />
      ) : (
        <>
          <div className="bubble" dir="auto">
            {content}
          </div>
          <div className="actions">
            <CopyButton text={content} label={t("message.copy")} />
            <IconButton
              icon={Pencil}
              size={16}
              label={t("message.edit")}
              data-edit
              disabled={locked}
              onClick={() => startEditing(id)}
            />
            <Versions id={id} versions={versions} />
          </div>
        </>
      )}
    </article>
  );
});

/** A question that is on its way to the server. */
export function PendingMessage({ content }: { content: string }) {
  const { t } = useTranslation();
  return (
    <article className="message message-user" aria-busy="true">
      <h2 className="sr-only">{t("message.you")}</h2>
      <div className="bubble" dir="auto">
        {content}
      </div>
    </article>
  );
}

interface EditorProps {
  id: string;
  initial: string;
  locked: boolean;
}

function Editor({ id, initial, locked }: EditorProps) {
  const { t } = useTranslation();
  const [text, setText] = useState(initial);
  const field = useGrowing(text);
  const sendable = text.trim() !== "" && !locked;
  const close = () => {
    startEditing(null);
    focusNext(`[data-message="${CSS.escape(id)}"] [data-edit]`);
  };
  const submit = () => {
    if (!sendable) return;
    void edit(id, text);
    focusComposer();
  };
  return (
    <form
      className="editor"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <textarea
        ref={field}
        value={text}
        dir="auto"
        aria-label={t("message.editLabel")}
        // biome-ignore lint/a11y/noAutofocus: it opens by a press on "Edit", and this is what was asked for
        autoFocus
        onFocus={(event) => event.target.setSelectionRange(text.length, text.length)}
        onChange={(event) => setText(event.target.value)}
        onKeyDown={(event) => {
          if (event.key === "Escape") close();
          if (!isSendKey(event)) return;
          event.preventDefault();
          submit();
        }}
      />
      <div className="dialog-buttons">
        <button type="button" className="button" onClick={close}>
          {t("message.cancel")}
        </button>
        <button type="submit" className="button button-accent" disabled={!sendable}>
          {t("message.send")}
        </button>
      </div>
    </form>
  );
}
