/** The page has two routes: `/` is a new chat, `/c/{id}` a conversation. */

export function conversationOfPath(path: string): string | null {
  const id = /^\/c\/([^/]+)\/?$/.exec(path)?.[1];
  if (id === undefined) return null;
  try {
    return decodeURIComponent(id);
  } catch {
    return null;
  }
}

export const pathOf = (conversation: string | null): string =>
  conversation === null ? "/" : `/c/${encodeURIComponent(conversation)}`;

export function pushPath(conversation: string | null): void {
  const path = pathOf(conversation);
  if (window.location.pathname !== path) window.history.pushState(null, "", path);
}
