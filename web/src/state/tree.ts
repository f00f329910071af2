import type { Message } from "../api/types";

/** A conversation is a tree: an edit or a regeneration makes a sibling, and the page shows one path through it. */
export interface Messages {
  byId: Readonly<Record<string, Message>>;
  /** Ids in the order of creation, over all branches. */
  order: readonly string[];
}

export const noMessages: Messages = { byId: {}, order: [] };

export function messagesOf(list: readonly Message[]): Messages {
  const byId = new Map(list.map((message) => [message.id, message]));
  return { byId: Object.fromEntries(byId), order: [...byId.keys()] };
}

/** Adds the message, or replaces what is known of it. */
export function putMessage(messages: Messages, message: Message): Messages {
  const known = Object.hasOwn(messages.byId, message.id);
  return {
    byId: { ...messages.byId, [message.id]: message },
    order: known ? messages.order : [...messages.order, message.id],
  };
}

/** From the root to `leaf`, both included. Empty when `leaf` is null or unknown. */
export function pathTo(messages: Messages, leaf: string | null): string[] {
  const path: string[] = [];
  const seen = new Set<string>();
  let at = leaf;
  while (at !== null && !seen.has(at)) {
    const message: Message | undefined = messages.byId[at];
    if (message === undefined) break;
    seen.add(at);
    path.push(at);
    at = message.parent_id;
  }
  return path.reverse();
}

/** The newest message below `root` (or of all, for null): always a leaf, because answers come after questions. */
export function newestLeaf(messages: Messages, root: string | null): string | null {
  for (const id of messages.order.toReversed()) {
    if (root === null || pathTo(messages, id).includes(root)) return id;
  }
  return null;
}

/** The versions of a message, itself among them, in the order of creation. */
export function versionsOf(messages: Messages, id: string): string[] {
  const message = messages.byId[id];
  if (message === undefined) return [];
  return messages.order.filter((other) => {
    const candidate = messages.byId[other];
    return candidate?.parent_id === message.parent_id && candidate.role === message.role;
  });
}
