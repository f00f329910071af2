import type {
  Conversation,
  ConversationPage,
  ConversationTree,
  Message,
  Models,
  Schemas,
  Session,
} from "./types";

/** How long a plain request may take. Streams have their own watch. */
const REQUEST_MS_MAX = 30_000;

interface Details {
  code: string | null;
  param: string | null;
  retryAfter_s: number | null;
  challenge: unknown;
}

/** A refusal of the server, or (status 0) a server that could not be reached. */
export class ApiError extends Error {
  readonly status: number;
  readonly code: string | null;
  /** The field of the request that is at fault. */
  readonly param: string | null;
  /** When the server wants to be asked again, in seconds from now. */
  readonly retryAfter_s: number | null;
  /** The proof of work that the server wants first, as it came; null where it wants none. */
  readonly challenge: unknown;

  constructor(status: number, message: string, more: Partial<Details> = {}) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = more.code ?? null;
    this.param = more.param ?? null;
    this.retryAfter_s = more.retryAfter_s ?? null;
    this.challenge = more.challenge ?? null;
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

let signedOut = (): void => {};

/** Calls `listener` whenever the server says that the request belonged to no session. */
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

let era = new AbortController();

/**
 * Cuts off all plain requests that are under way. They never settle: what they would bring belongs to a user who is gone, and
 * must not reach the page of the next one.
 */
export function cutOff(): void {
  era.abort();
  era = new AbortController();
}

/** Is aborted when `cutOff` is called, for what is under way by other means than these requests. */
export const untilCutOff = (): AbortSignal => era.signal;

const never = <T>(): Promise<T> => new Promise(() => {});

/** `fetch` whose failures are `ApiError`s; an abort by `init.signal` stays an abort. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, { ...init, credentials: "same-origin", cache: "no-store" });
  } catch (error) {
    if (init.signal && calledOff(init.signal)) throw error;
    throw unreached();
  }
  if (response.ok) {
    reached(true);
    return response;
  }
  const text = await response.text().catch(() => "");
  throw refusalOf(response, text, response.headers.get("retry-after"), init.signal?.aborted === true);
}

/** Whether a request was ended by who made it, and not by its time. */
const calledOff = (signal: AbortSignal): boolean =>
  signal.aborted && (signal.reason as Error | undefined)?.name !== "TimeoutError";

/** What became of a request that no server has answered. */
export function unreached(): ApiError {
  reached(false);
  return new ApiError(0, "the server could not be reached");
}

/** What an answer says that is no success, with the text that came with it. */
export function refusalOf(
  { status, statusText }: { status: number; statusText: string },
  text: string,
  retryAfter: string | null,
  late = false,
): ApiError {
  // A proxy in front answers for a server that is gone.
  reached(status !== 502 && status !== 504);
  let message = statusText === "" ? `HTTP ${status}` : statusText;
  const details: Partial<Details> = { retryAfter_s: retryAfterOf(retryAfter, Date.now()) };
  try {
    const body = JSON.parse(text) as {
      error?: { message?: unknown; code?: unknown; param?: unknown };
      challenge?: unknown;
    };
    details.challenge = body.challenge;
    if (typeof body.error?.message === "string") message = body.error.message;
    if (typeof body.error?.code === "string") details.code = body.error.code;
    if (typeof body.error?.param === "string") details.param = body.error.param;
  } catch {
    // Not every refusal has a body of ours.
  }
  if (details.code === "not_signed_in" && !late) signedOut();
  return new ApiError(status, message, details);
}

/** The seconds of a Retry-After field, which may also hold a date. */
export function retryAfterOf(text: string | null, now_ms: number): number | null {
  if (text === null || text.trim() === "") return null;
  const seconds = Number(text);
  if (Number.isFinite(seconds)) return Math.max(0, Math.ceil(seconds));
  const at_ms = Date.parse(text);
  return Number.isNaN(at_ms) ? null : Math.max(0, Math.ceil((at_ms - now_ms) / 1000));
}

interface Manner {
  /** Go along with those that every request has. */
  headers?: Record<string, string>;
  /** How long the answer may take. */
  patience_ms?: number;
  /** Ends the request for the caller, who then gets the abort. */
  signal?: AbortSignal;
}

/** A request with JSON both ways. */
export async function call<T>(
  method: string,
  path: string,
  body?: unknown,
  { patience_ms = REQUEST_MS_MAX, signal, headers = {} }: Manner = {},
): Promise<T> {
  const cut = era.signal;
  const ends = [cut, AbortSignal.timeout(patience_ms), ...(signal === undefined ? [] : [signal])];
  try {
    const answer = await callOnce<T>(method, path, body, headers, AbortSignal.any(ends));
    return cut.aborted ? never() : answer;
  } catch (error) {
    if (cut.aborted) return never();
    throw error;
  }
}

async function callOnce<T>(
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string>,
  signal: AbortSignal,
): Promise<T> {
  const init: RequestInit = { method, signal, headers };
  if (method !== "GET") {
    init.headers = { "content-type": "application/json", ...headers };
    init.body = JSON.stringify(body ?? {});
  }
  const response = await request(path, init);
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch (error) {
    if (calledOff(signal)) throw error;
    throw new ApiError(response.status, "the server's answer could not be read");
  }
}

const conversationPath = (id: string): string => `/api/conversations/${encodeURIComponent(id)}`;

export const messagePath = (conversation: string, message: string): string =>
  `${conversationPath(conversation)}/messages/${encodeURIComponent(message)}`;

/** A user, as an operator asks for them. */
export const userPath = (id: string): string => `/api/admin/users/${encodeURIComponent(id)}`;

export type NewMessage = Schemas["AddMessageAsked"];
export type NewUser = Pick<Schemas["SignUpAsked"], "name" | "email" | "password">;

/** What the gate may ask of a new user besides. */
export interface Admission {
  /** The solution of a challenge. */
  challenge?: string;
  /** The ticket of a place in the waiting list. */
  place?: string;
  invitation?: string;
}

export const api = {
  session: () => call<Session>("GET", "/api/session"),

  setUp: (token: string, user: NewUser) => call<Session>("POST", "/api/setup", { token, ...user }),

  logout: () => call<void>("POST", "/api/logout"),

  sessions: () => call<Schemas["Devices"]>("GET", "/api/sessions"),

  revokeSession: (id: string) => call<void>("DELETE", `/api/sessions/${encodeURIComponent(id)}`),

  revokeOtherSessions: () => call<void>("DELETE", "/api/sessions"),

  models: () => call<Models>("GET", "/api/models"),

  conversations: (before: string | null, limit: number) => {
    const query = new URLSearchParams({ limit: String(limit) });
    if (before !== null) query.set("before", before);
    return call<ConversationPage>("GET", `/api/conversations?${query}`);
  },

  createConversation: (model: string | null) =>
    call<Conversation>("POST", "/api/conversations", model === null ? {} : { model }),

  conversation: (id: string) => call<ConversationTree>("GET", conversationPath(id)),

  changeConversation: (id: string, change: Schemas["ChangeConversationAsked"]) =>
    call<Conversation>("PATCH", conversationPath(id), change),

  deleteConversation: (id: string) => call<void>("DELETE", conversationPath(id)),

  send: (conversation: string, message: NewMessage) =>
    call<Schemas["Turn"]>("POST", `${conversationPath(conversation)}/messages`, message),

  regenerate: (conversation: string, message: string, options: Schemas["RegenerateAsked"]) =>
    call<Schemas["OtherAnswer"]>("POST", `${messagePath(conversation, message)}/regenerate`, options),

  /** Goes on with an answer that ended before its end. */
  continueAnswer: (conversation: string, message: string) =>
    call<Schemas["ContinuedAnswer"]>("POST", `${messagePath(conversation, message)}/continue`),

  stop: (conversation: string, message: string) =>
    call<Message>("POST", `${messagePath(conversation, message)}/stop`),
};
