import { ArrowUp, Lightbulb, Square } from "lucide-react";
import { type KeyboardEvent, useEffect, useLayoutEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { useSession } from "../state/session";
import { recallDraft, rememberDraft } from "../state/storage";
import { chooseThinking, currentModel, send, stop, useStore } from "../state/store";
import { FailureNote } from "./FailureNote";
import { byFinger, focusComposer } from "./focus";
import { IconButton } from "./IconButton";

/** Where a finger writes, Enter is a new line and the button sends; Enter that ends an input method's choice is not ours. */
export function isSendKey(event: KeyboardEvent): boolean {
  const composing = event.nativeEvent.isComposing || event.keyCode === 229;
  return event.key === "Enter" && !event.shiftKey && !composing && !byFinger();
}

/** Makes the field as high as its text, where the browser doesn't do so by `field-sizing`. */
export function useGrowing(value: string) {
  const field = useRef<HTMLTextAreaElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the height follows the text
  useLayoutEffect(() => {
    const element = field.current;
    if (element === null || CSS.supports("field-sizing", "content")) return;
    element.style.height = "auto";
    element.style.height = `${element.scrollHeight}px`;
  }, [value]);
  return field;
}

/** The text in the field, kept per conversation, and replaced when a draft is put from elsewhere. */
function useDraft(conversation: string | null) {
  const [text, setText] = useState(() => recallDraft(conversation));
  const [shown, setShown] = useState(conversation);
  const draft = useStore((state) => state.draft);
  const [serial, setSerial] = useState(draft.serial);
  if (shown !== conversation) {
    setShown(conversation);
    setText(recallDraft(conversation));
  } else if (serial !== draft.serial) {
    setSerial(draft.serial);
    setText(draft.text);
  }
  const write = (value: string) => {
    setText(value);
    rememberDraft(conversation, value);
  };
  return { text, write };
}

interface Props {
  /** The answer that is being written on the shown path. */
  generating: string | null;
}

export function Composer({ generating }: Props) {
  const { t } = useTranslation();
  const conversation = useStore((state) => state.open.id);
  const openState = useStore((state) => state.open.state);
  const busy = useStore((state) => state.open.pending !== null);
  const model = useStore(currentModel);
  const { text, write } = useDraft(conversation);
  const field = useGrowing(text);
  const [wished, setWished] = useState(false);
  const ready = model !== null && openState === "ready" && !busy && generating === null;
  const sendable = ready && text.trim() !== "";

  // On a new page one goes on writing. A phone would open its keyboard for it.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when the conversation is another
  useEffect(() => {
    if (!byFinger()) field.current?.focus();
  }, [conversation]);

  const submit = () => {
    if (!sendable) {
      // Who writes faster than the models are known need not press again.
      if (model === null && text.trim() !== "") setWished(true);
      return;
    }
    setWished(false);
    const content = text;
    write("");
    void send(content);
    focusComposer();
  };
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs when what was wished for can be done
  useEffect(() => {
    if (wished && sendable) submit();
  }, [wished, sendable]);
  const onKeyDown = (event: KeyboardEvent) => {
    if (!isSendKey(event)) return;
    event.preventDefault();
    submit();
  };
  return (
    <div className="composer-area">
      <FailureNote />
      <form
        className="composer"
        onSubmit={(event) => {
          event.preventDefault();
          submit();
        }}
      >
        <textarea
          ref={field}
          id="composer"
          rows={1}
          value={text}
          dir="auto"
          enterKeyHint={byFinger() ? "enter" : "send"}
          aria-label={t("composer.label")}
          placeholder={
            model === null
              ? t("composer.placeholderPlain")
              : t("composer.placeholder", { model: model.title })
          }
          disabled={openState === "missing"}
          onChange={(event) => {
            setWished(false);
            write(event.target.value);
          }}
          onKeyDown={onKeyDown}
        />
        <div className="composer-row">
          {model?.thinking === "switchable" && <ThinkingSwitch />}
          <span className="grow" />
          {generating === null ? (
            <IconButton
              type="submit"
              icon={ArrowUp}
              label={t("composer.send")}
              className="send"
              disabled={!sendable}
            />
          ) : (
            <StopButton message={generating} />
          )}
        </div>
      </form>
      <NoModel />
      <p className="caution">{t("app.caution")}</p>
    </div>
  );
}

function ThinkingSwitch() {
  const { t } = useTranslation();
  const thinking = useStore((state) => state.thinking);
  return (
    <button
      type="button"
      role="switch"
      aria-checked={thinking}
      className="thinking-switch"
      data-tip={t("composer.thinkingHint")}
      onClick={() => chooseThinking(!thinking)}
    >
      <Lightbulb size={16} aria-hidden />
      {t("composer.thinking")}
    </button>
  );
}

function StopButton({ message }: { message: string }) {
  const { t } = useTranslation();
  const [stopping, setStopping] = useState<string | null>(null);
  return (
    <button
      type="button"
      className="button-icon send stop"
      aria-label={t("composer.stop")}
      data-tip={t("composer.stop")}
      disabled={stopping === message}
      onClick={() => {
        setStopping(message);
        void stop(message).finally(() => setStopping(null));
        focusComposer();
      }}
    >
      <Square size={14} fill="currentColor" aria-hidden />
    </button>
  );
}

function NoModel() {
  const { t } = useTranslation();
  const missing = useStore((state) => state.modelsState === "ready" && currentModel(state) === null);
  const plain = useSession((state) => state.user?.role === "user");
  if (!missing) return null;
  // Whoever runs the place can fetch one; for the others it may be there and not be theirs.
  if (plain) {
    return (
      <p className="note" role="status">
        {t("model.noneForYou")}
      </p>
    );
  }
  return (
    <p className="note" role="status">
      {t("model.noneInstalled")} <code>cachalot pull</code>
    </p>
  );
}
