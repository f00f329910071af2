import { ArrowDown } from "lucide-react";
import { startTransition, useEffect, useLayoutEffect, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { shownPath } from "../state/conversation";
import { foundWanted, reloadOpen, startNewChat, useStore } from "../state/store";
import { versionsOf } from "../state/tree";
import { Announcer } from "./Announcer";
import { AssistantMessage } from "./AssistantMessage";
import { Composer } from "./Composer";
import { Greeting, Suggestions } from "./Empty";
import { focusComposer } from "./focus";
import { IconButton } from "./IconButton";
import { PendingMessage, UserMessage } from "./UserMessage";
import { useStickToEnd } from "./useStickToEnd";

/** Messages drawn at once when a chat is opened; the earlier ones follow in steps, so that a long chat opens fast. */
const FIRST_DRAWN = 20;
const DRAWN_STEP = 20;

export function Chat() {
  const state = useStore((store) => store.open.state);
  const { t } = useTranslation();
  if (state === "loading") {
    return (
      <div className="centred" role="status">
        <span className="spinner" aria-hidden="true" />
        <span className="sr-only">{t("chat.loading")}</span>
      </div>
    );
  }
  if (state !== "ready") {
    return (
      <div className="centred" role="alert">
        <p>{t(`chat.${state}`)}</p>
        {state === "missing" ? (
          <button type="button" className="button button-accent" onClick={startNewChat}>
            {t("chat.startNew")}
          </button>
        ) : (
          <button type="button" className="button" onClick={() => void reloadOpen()}>
            {t("connection.retry")}
          </button>
        )}
      </div>
    );
  }
  return <Thread />;
}

/**
 * How many of the earliest messages are not drawn yet: none, shortly after the chat was opened. The one at `wanted` is always
 * drawn, and is -1 where none is looked for.
 */
function useHidden(count: number, wanted: number): number {
  const [hidden, setHidden] = useState(Math.max(0, count - FIRST_DRAWN));
  if (wanted >= 0 && wanted < hidden) setHidden(wanted);
  useEffect(() => {
    if (hidden === 0) return;
    const timer = setTimeout(() => startTransition(() => setHidden(Math.max(0, hidden - DRAWN_STEP))), 30);
    return () => clearTimeout(timer);
  }, [hidden]);
  return hidden;
}

/** How long after the last message is drawn the one that was looked for is kept in its place. */
const SETTLING_MS = 1500;

/** Puts the focus on the message that was looked for, and colours it for a moment. */
function mark(message: HTMLElement): void {
  message.tabIndex = -1;
  message.focus({ preventScroll: true });
  message.classList.add("message-found");
  message.addEventListener("animationend", () => message.classList.remove("message-found"), { once: true });
}

function Thread() {
  const { t } = useTranslation();
  const id = useStore((store) => store.open.id);
  const order = useStore((store) => store.open.messages.order);
  const leaf = useStore((store) => store.open.leaf);
  const pending = useStore((store) => store.open.pending);
  // The tree changes with its order and its leaf; the text of a message is its own affair.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  const path = useMemo(() => shownPath(useStore.getState().open), [order, leaf]);
  const generating = useStore((store) => {
    const last = store.open.leaf === null ? undefined : store.open.messages.byId[store.open.leaf];
    return last?.status === "generating" ? last.id : null;
  });
  const wanted = useStore((store) => store.open.wanted);
  const hidden = useHidden(path.length, wanted === null ? -1 : path.indexOf(wanted));
  const { scroller, content, atEnd, toEnd, hold, release, follow } = useStickToEnd(
    generating !== null || pending !== null,
  );

  const shown = useMemo(() => {
    if (pending === null) return path;
    const at = pending.parent_id === null ? -1 : path.indexOf(pending.parent_id);
    return path.slice(0, at + 1);
  }, [path, pending]);
  const versions = useMemo(() => {
    const { messages } = useStore.getState().open;
    return new Map(path.map((message) => [message, versionsOf(messages, message)]));
  }, [path]);

  // A chat opens at its end, and so does a new question.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs for another chat and another question
  useLayoutEffect(() => {
    toEnd();
    const timer = follow(2000);
    return () => clearTimeout(timer);
  }, [id, pending]);

  // A chat that was searched opens at what was found. Its end comes first, and what has the focus by then gives it up.
  useEffect(() => {
    if (wanted === null) return;
    const message = content.current?.querySelector<HTMLElement>(`[data-message="${CSS.escape(wanted)}"]`);
    if (message) {
      hold(message);
      mark(message);
    }
    foundWanted();
  }, [wanted, content, hold]);
  useEffect(() => {
    if (wanted !== null || hidden > 0) return;
    const timer = setTimeout(release, SETTLING_MS);
    return () => clearTimeout(timer);
  }, [wanted, hidden, release]);

  const locked = generating !== null || pending !== null;
  const empty = path.length === 0 && pending === null;
  return (
    <div className="chat" data-empty={empty}>
      <div className="scroller" ref={scroller}>
        <div className="thread" ref={content}>
          {empty && <Greeting />}
          {shown.slice(Math.min(hidden, Math.max(0, shown.length - FIRST_DRAWN))).map((message) => (
            <MessageOf
              key={message}
              id={message}
              versions={versions.get(message) ?? []}
              last={message === path.at(-1)}
              locked={locked}
            />
          ))}
          {pending !== null && <PendingMessage content={pending.content} />}
        </div>
      </div>
      <div className="thread-foot">
        {!atEnd && !empty && (
          <IconButton
            icon={ArrowDown}
            label={t("chat.latest")}
            className="to-end"
            onClick={() => {
              toEnd(true);
              focusComposer();
            }}
          />
        )}
        <Composer generating={generating} />
      </div>
      {empty && <Suggestions />}
      <Announcer generating={generating} />
    </div>
  );
}

interface MessageProps {
  id: string;
  versions: readonly string[];
  last: boolean;
  locked: boolean;
}

function MessageOf({ last, ...props }: MessageProps) {
  const role = useStore((store) => store.open.messages.byId[props.id]?.role);
  return role === "user" ? <UserMessage {...props} /> : <AssistantMessage {...props} last={last} />;
}
