import type { Conversation, ConversationTree, Delta, Message } from "../api/types";
import { type Messages, messagesOf, newestLeaf, noMessages, pathTo, putMessage } from "./tree";

/** How the connection to a running answer stands. */
type Link = "joined" | "lost";

/** What only this page knows of a running answer. Times are of the page's clock. */
export interface Live {
  link: Link;
  reasoningFrom_ms: number | null;
  reasoningTo_ms: number | null;
}

/** A question that the server has not yet taken. */
interface Pending {
  content: string;
  parent_id: string | null;
}

export interface Failure {
  kind:
    | "unreachable"
    | "busy"
    | "too_long"
    | "conflict"
    | "model_not_allowed"
    | "too_many_answers_at_once"
    | "messages_per_day"
    | "other";
  /** The server's own words, for what we have none for. */
  detail: string;
  /** When the server wants to be asked again, in seconds from then. */
  wait_s: number | null;
}

/** The conversation on the page; before its first message, `id` is null. */
export interface Open {
  id: string | null;
  state: "loading" | "ready" | "missing" | "unreachable";
  conversation: Conversation | null;
  messages: Messages;
  /** Where the shown path ends. */
  leaf: string | null;
  live: Readonly<Record<string, Live>>;
  pending: Pending | null;
  failure: Failure | null;
  /** The question that is being put in other words. */
  editing: { id: string; text: string } | null;
  /** The message that was looked for, until it has been brought into sight. */
  wanted: string | null;
}

export const newOpen: Open = {
  id: null,
  state: "ready",
  conversation: null,
  messages: noMessages,
  leaf: null,
  live: {},
  pending: null,
  failure: null,
  editing: null,
  wanted: null,
};

export const loadingOpen = (id: string, wanted: string | null = null): Open => ({
  ...newOpen,
  id,
  state: "loading",
  wanted,
});

/** Takes what the server has, and stays on the shown branch if that still exists. */
export function loaded(open: Open, tree: ConversationTree): Open {
  let messages = messagesOf(tree.messages);
  // What streams in is newer than what the request read.
  for (const id of Object.keys(open.live)) {
    const streaming = open.messages.byId[id];
    if (streaming !== undefined && messages.byId[id]?.status === "generating") {
      messages = putMessage(messages, streaming);
    }
  }
  const kept = open.leaf !== null && messages.byId[open.leaf] !== undefined;
  const leaf = kept ? newestLeaf(messages, open.leaf) : newestLeaf(messages, null);
  const read: Open = { ...open, state: "ready", conversation: tree.conversation, messages, leaf };
  return open.wanted === null ? read : want(read, open.wanted);
}

/** Shows the branch that the message is on, and asks for it to be brought into sight; one that isn't there is not looked for. */
export function want(open: Open, id: string): Open {
  if (open.messages.byId[id] === undefined) return { ...open, wanted: null };
  const shown = pathTo(open.messages, open.leaf).includes(id);
  return { ...open, leaf: shown ? open.leaf : newestLeaf(open.messages, id), wanted: id };
}

/** The messages of the shown path, root first. */
export function shownPath(open: Open): string[] {
  return pathTo(open.messages, open.leaf).filter((id) => open.messages.byId[id]?.role !== "system");
}

/** Shows the branch through `id`, down to its newest message. */
export function showVersion(open: Open, id: string): Open {
  return { ...open, leaf: newestLeaf(open.messages, id) ?? open.leaf };
}

/** Adds a message and ends the shown path with it. */
export function follow(open: Open, ...added: readonly Message[]): Open {
  const last = added.at(-1);
  return {
    ...open,
    messages: added.reduce(putMessage, open.messages),
    leaf: last?.id ?? open.leaf,
    pending: null,
    failure: null,
  };
}

const idle: Live = { link: "joined", reasoningFrom_ms: null, reasoningTo_ms: null };

/** Everything so far, as the server tells it on (re)joining. */
export function snapshot(open: Open, message: Message, now_ms: number): Open {
  const thinks = (message.reasoning ?? "") !== "";
  const live: Live = {
    link: "joined",
    // The server knows how long the model has thought before the page was there.
    reasoningFrom_ms: thinks ? now_ms - (message.reasoning_ms ?? 0) : null,
    reasoningTo_ms: thinks && message.content !== "" ? now_ms : null,
  };
  return {
    ...open,
    messages: putMessage(open.messages, message),
    live: { ...open.live, [message.id]: live },
  };
}

/** Adds text to a running answer. Text for a message that isn't known waits for its snapshot. */
export function append(open: Open, id: string, deltas: readonly Delta[], now_ms: number): Open {
  const message = open.messages.byId[id];
  if (message === undefined) return open;
  let { content, reasoning } = message;
  const live: Live = { ...(open.live[id] ?? idle), link: "joined" };
  for (const delta of deltas) {
    if (delta.part === "reasoning") {
      reasoning = (reasoning ?? "") + delta.text;
      live.reasoningFrom_ms ??= now_ms;
    } else {
      content += delta.text;
      if (live.reasoningFrom_ms !== null) live.reasoningTo_ms ??= now_ms;
    }
  }
  return {
    ...open,
    messages: putMessage(open.messages, { ...message, content, reasoning }),
    live: { ...open.live, [id]: live },
  };
}

/** Marks the connection to a running answer as lost. */
export function lost(open: Open, id: string): Open {
  return { ...open, live: { ...open.live, [id]: { ...(open.live[id] ?? idle), link: "lost" } } };
}

/** The answer is complete, or ended in another way. */
export function done(open: Open, message: Message): Open {
  const { [message.id]: _, ...live } = open.live;
  return { ...open, messages: putMessage(open.messages, message), live };
}

/** The answers that the server still works on. */
export function generating(open: Open): string[] {
  return open.messages.order.filter((id) => open.messages.byId[id]?.status === "generating");
}
