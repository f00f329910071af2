import type { Conversation, ConversationPage, ConversationTree, Message, Models } from "./types";

/** How long a plain request may take. Streams have their own watch. */
const REQUEST_MS_MAX = 30_000;

/** A refusal of the server, or (status 0) a server that could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string | null;

  constructor(status: number, message: string, code: string | null = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
  }

  get unreachable(): boolean {
    return this.status === 0;
  }
}

type Reached = (reached: boolean) => void;
let reached: Reached = () => {};

/** Tells `listener` after every request whether the server answered. */
export function onReached(listener: Reached): void {
  reached = listener;
}

/** `fetch` whose failures are `ApiError`s; an abort by `init.signal` stays an abort. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (init.signal?.aborted && (init.signal.reason as Error | undefined)?.name !== "TimeoutError")
      throw error;
    reached(false);
    throw new ApiError(0, "the server could not be reached");
  }
  // A proxy in front answers for a server that is gone.
  reached(response.status !== 502 && response.status !== 504);
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response: Response): Promise<ApiError> {
  let message = response.statusText === "" ? `HTTP ${response.status}` : response.statusText;
  let code: string | null = null;
  try {
    const body = (await response.json()) as { error?: { message?: unknown; code?: unknown } };
    if (typeof body.error?.message === "string") message = body.error.message;
    if (typeof body.error?.code === "string") code = body.error.code;
  } catch {
    // Not every refusal has a body of ours.
  }
  return new ApiError(response.status, message, code);
}

async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
  const init: RequestInit = { method, signal: AbortSignal.timeout(REQUEST_MS_MAX) };
  if (method !== "GET") {
    init.headers = { "content-type": "application/json" };
    init.body = JSON.stringify(body ?? {});
  }
  const response = await request(path, init);
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch {
    throw new ApiError(response.status, "the server's answer could not be read");
  }
}

const conversationPath = (id: string): string => `/api/conversations/${encodeURIComponent(id)}`;

export const messagePath = (conversation: string, message: string): string =>
  `${conversationPath(conversation)}/messages/${encodeURIComponent(message)}`;

export interface NewMessage {
  content: string;
  parent_id: string | null;
  thinking?: boolean;
  model?: string;
}

export const api = {
  models: () => call<Models>("GET", "/api/models"),

  conversations: (before: string | null, limit: number) => {
    const query = new URLSearchParams({ limit: String(limit) });
    if (before !== null) query.set("before", before);
    return call<ConversationPage>("GET", `/api/conversations?${query}`);
  },

  createConversation: (model: string | null) =>
    call<Conversation>("POST", "/api/conversations", model === null ? {} : { model }),

  conversation: (id: string) => call<ConversationTree>("GET", conversationPath(id)),

  changeConversation: (id: string, change: { title?: string; model?: string; system?: string }) =>
    call<Conversation>("PATCH", conversationPath(id), change),

  deleteConversation: (id: string) => call<void>("DELETE", conversationPath(id)),

  send: (conversation: string, message: NewMessage) =>
    call<{ user: Message; assistant: Message }>(
      "POST",
      `${conversationPath(conversation)}/messages`,
      message,
    ),

  regenerate: (conversation: string, message: string, options: { model?: string; thinking?: boolean }) =>
    call<{ assistant: Message }>("POST", `${messagePath(conversation, message)}/regenerate`, options),

  stop: (conversation: string, message: string) =>
    call<Message>("POST", `${messagePath(conversation, message)}/stop`),
};
