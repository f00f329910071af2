import { MessageSquare, Search, UserRound, X } from "lucide-react";
import { Dialog } from "radix-ui";
import { type ReactNode, useEffect, useId, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Found } from "../../api/data";
import type { Conversation } from "../../api/types";
import { agoText } from "../../i18n/format";
import { piecesOf, QUERY_LENGTH_MAX, titled } from "../../state/search";
import { loadMore, openConversation, openMessage, useStore } from "../../state/store";
import { useReturnFocus } from "../focus";
import { IconButton } from "../IconButton";
import { useListbox } from "../useListbox";
import { useSettled } from "../useSettled";
import { Whale } from "../Whale";
import { type Messages, useFound } from "./useFound";

/** Chats whose titles a search may load by itself. */
const SEARCHED_MAX = 1000;
const TITLES_MAX = 8;

interface Props {
  open: boolean;
  onClose: () => void;
  /** Called when something was chosen, so that a drawer can close. */
  onChosen: () => void;
}

/** Finds a chat by its title, or by what is said in it. */
export function SearchDialog({ open, onClose, onChosen }: Props) {
  const { t } = useTranslation();
  const focus = useReturnFocus();
  return (
    <Dialog.Root open={open} onOpenChange={(now) => !now && onClose()}>
      <Dialog.Portal>
        <Dialog.Overlay className="overlay" />
        <Dialog.Content className="dialog search-dialog" aria-describedby={undefined} {...focus.events}>
          <Dialog.Title className="sr-only">{t("search.title")}</Dialog.Title>
          <SearchBox
            onChosen={() => {
              // What was chosen takes the focus.
              focus.leave();
              onClose();
              onChosen();
            }}
          />
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

/** The chats with the words in their titles; without words, the last ones. */
function useTitled(query: string): Conversation[] {
  const list = useStore((state) => state.list);
  const listState = useStore((state) => state.listState);
  const listNext = useStore((state) => state.listNext);
  // A search looks at the older chats too.
  useEffect(() => {
    if (query !== "" && listNext !== null && listState === "ready" && list.length < SEARCHED_MAX)
      void loadMore();
  }, [query, listNext, listState, list]);
  return useMemo(() => titled(list, query).slice(0, TITLES_MAX), [list, query]);
}

function SearchBox({ onChosen }: { onChosen: () => void }) {
  const { t } = useTranslation();
  const [text, setText] = useState("");
  const query = text.trim();
  const settled = useSettled(query);
  const chats = useTitled(query);
  const messages = useFound(settled);
  const { results } = query === "" ? nothing : messages;
  const choose = (index: number) => {
    const chat = chats[index];
    const result = results[index - chats.length];
    if (chat !== undefined) void openConversation(chat.id);
    else if (result !== undefined) void openMessage(result.conversation_id, result.message_id);
    else return;
    onChosen();
  };
  const { field, listId, option, moveTo } = useListbox(chats.length + results.length, choose);
  return (
    <>
      <div className="search-field">
        <Search size={18} aria-hidden className="shrink-0" />
        <input
          {...field}
          type="text"
          value={text}
          maxLength={QUERY_LENGTH_MAX}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          enterKeyHint="go"
          aria-label={t("search.label")}
          placeholder={t("search.placeholder")}
          onChange={(event) => {
            setText(event.target.value);
            moveTo(0);
          }}
        />
        {query !== "" && messages.state === "searching" && <span className="spinner" aria-hidden="true" />}
        <Dialog.Close asChild>
          <IconButton icon={X} label={t("search.close")} />
        </Dialog.Close>
      </div>
      <div role="listbox" id={listId} className="search-results" aria-label={t("search.results")}>
        {chats.length > 0 && (
          <Group name={t(query === "" ? "search.recent" : "search.chats")}>
            {chats.map((chat, index) => (
              <ChatOption key={chat.id} chat={chat} {...option(index)} />
            ))}
          </Group>
        )}
        {results.length > 0 && (
          <Group name={t("search.messages")}>
            {results.map((result, index) => (
              <MessageOption key={result.message_id} result={result} {...option(chats.length + index)} />
            ))}
          </Group>
        )}
      </div>
      <p className="search-note" role="status">
        {query !== "" && <Note messages={messages} count={chats.length + results.length} />}
      </p>
    </>
  );
}

const nothing = { results: [] as readonly Found[] };

function Note({ messages, count }: { messages: Messages; count: number }) {
  const { t } = useTranslation();
  if (messages.state === "unreachable" || messages.state === "busy") return t(`search.${messages.state}`);
  if (messages.state !== "ready") return t("search.searching");
  if (count === 0) return t("search.none");
  return (
    <>
      {t("search.count", { count })}
      {messages.more && <> {t("search.more")}</>}
    </>
  );
}

function Group({ name, children }: { name: string; children: ReactNode }) {
  const id = useId();
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms
    <div role="group" aria-labelledby={id}>
      <div id={id} className="menu-label">
        {name}
      </div>
      {children}
    </div>
  );
}

type OptionProps = ReturnType<ReturnType<typeof useListbox>["option"]>;

function ChatOption({ chat, ...option }: OptionProps & { chat: Conversation }) {
  const { t } = useTranslation();
  return (
    <div {...option} className="menu-item option">
      <MessageSquare size={16} aria-hidden />
      <span className="truncate" dir="auto">
        {chat.title === "" ? t("sidebar.untitled") : chat.title}
      </span>
    </div>
  );
}

function MessageOption({ result, ...option }: OptionProps & { result: Found }) {
  const { t, i18n } = useTranslation();
  const title = result.title === "" ? t("sidebar.untitled") : result.title;
  return (
    <div {...option} className="menu-item option option-message">
      {result.role === "user" ? <UserRound size={16} aria-hidden /> : <Whale size={16} />}
      <span className="grow min-w-0">
        <span className="search-from">
          <span className="truncate" dir="auto">
            {title}
          </span>
          <span className="shrink-0">{agoText(result.created_ms, Date.now(), i18n.language)}</span>
        </span>
        <span className="search-snippet" dir="auto">
          <span className="sr-only">{t(result.role === "user" ? "message.you" : "message.assistant")}: </span>
          {piecesOf(result.snippet, result.marks).map((piece, index) =>
            // biome-ignore lint/suspicious/noArrayIndexKey: the pieces of a result never change
            piece.marked ? <mark key={index}>{piece.text}</mark> : piece.text,
          )}
        </span>
      </span>
    </div>
  );
}
