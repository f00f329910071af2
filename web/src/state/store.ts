import { create } from "zustand";
import { ApiError, api, cutOff, type NewMessage } from "../api/client";
import { follow as followStream } from "../api/follow";
import type { Conversation, ConversationTree, Message, Model } from "../api/types";
import { DeltaBuffer, drawPause_ms } from "./buffer";
import type { Failure, Open } from "./conversation";
import * as conversation from "./conversation";
import { mergeConversations } from "./days";
import { conversationOfPath, pushPath } from "./route";
import { recallDraft, recallOwn, rememberDraft, rememberOwn } from "./storage";

const PAGE_SIZE = 40;
/** Answers that are followed at once; browsers keep six connections to one server. */
const FOLLOWED_MAX = 3;

export type Notice =
  | "signOutFailed"
  | "revokeFailed"
  | "sendFailed"
  | "renameFailed"
  | "deleteFailed"
  | "stopFailed"
  | "settingsFailed"
  | "copyFailed";

interface State {
  models: Model[];
  defaultModel: string | null;
  modelsState: "loading" | "ready" | "unreachable";
  list: Conversation[];
  listNext: string | null;
  listState: "loading" | "ready" | "more" | "moreFailed" | "unreachable";
  open: Open;
  /** Chosen for the next new chat. */
  newModel: string | null;
  newSystem: string;
  thinking: boolean;
  /** The server did not answer the last request. */
  serverLost: boolean;
  notice: { text: Notice; at_ms: number } | null;
  /** Raised to put a text into the composer from elsewhere. */
  draft: { text: string; serial: number };
}

/** What the page knows before it has asked for anything; nothing of it is of a user. */
const empty: State = {
  models: [],
  defaultModel: null,
  modelsState: "loading",
  list: [],
  listNext: null,
  listState: "loading",
  open: conversation.newOpen,
  newModel: null,
  newSystem: "",
  thinking: true,
  serverLost: false,
  notice: null,
  draft: { text: "", serial: 0 },
};

export const useStore = create<State>(() => empty);

const { getState: get, setState: set } = useStore;

/** Changes the open conversation, if it is still the one that `id` names. */
function changeOpen(id: string | null, change: (open: Open) => Open): void {
  set((state) => (state.open.id === id ? { open: change(state.open) } : {}));
}

export function notify(text: Notice): void {
  set({ notice: { text, at_ms: Date.now() } });
}

export const dismissNotice = (): void => set({ notice: null });

export function putDraft(text: string): void {
  set((state) => ({ draft: { text, serial: state.draft.serial + 1 } }));
}

/** What a user's groups forbid, as the server calls it. */
const limits = ["model_not_allowed", "too_many_answers_at_once", "messages_per_day"] as const;

function failureOf(error: unknown): Failure {
  if (!(error instanceof ApiError)) return { kind: "other", detail: String(error), wait_s: null };
  const { message: detail, retryAfter_s: wait_s } = error;
  const limit = limits.find((known) => known === error.code);
  return { kind: limit ?? kindOf(error), detail, wait_s };
}

function kindOf(error: ApiError): Failure["kind"] {
  if (error.unreachable) return "unreachable";
  if (error.status === 503 || error.status === 429) return "busy";
  if (error.status === 413) return "too_long";
  return error.status === 409 && error.code !== "full" ? "conflict" : "other";
}

// --- models ---

/** The model that the next message goes to. */
export function currentModel(state: State): Model | null {
  const installed = state.models.filter((model) => model.installed);
  const wanted = state.open.id === null ? state.newModel : (state.open.conversation?.model ?? null);
  const named = (name: string | null) => installed.find((model) => model.name === name);
  return named(wanted) ?? named(state.defaultModel) ?? installed[0] ?? null;
}

async function loadModels(): Promise<void> {
  try {
    const { models, default: defaultModel } = await api.models();
    set({ models, defaultModel, modelsState: "ready" });
  } catch {
    if (get().modelsState === "loading") set({ modelsState: "unreachable" });
  }
}

export async function chooseModel(name: string): Promise<void> {
  const { open } = get();
  set({ newModel: name });
  rememberOwn("model", name);
  if (open.id === null) return;
  const before = open.conversation;
  changeConversation(open.id, { model: name });
  try {
    await api.changeConversation(open.id, { model: name });
  } catch {
    if (before !== null) changeConversation(open.id, { model: before.model });
    notify("settingsFailed");
  }
}

export function chooseThinking(thinking: boolean): void {
  set({ thinking });
  rememberOwn("thinking", thinking ? null : "off");
}

/** The per-message choices, as the model allows them. */
function choices(): { model?: string; thinking?: boolean } {
  const model = currentModel(get());
  if (model === null) return {};
  return model.thinking === "switchable"
    ? { model: model.name, thinking: get().thinking }
    : { model: model.name };
}

// --- the list ---

export async function loadList(): Promise<void> {
  try {
    const page = await api.conversations(null, PAGE_SIZE);
    set((state) => {
      // Whatever lies within the page's span and isn't on it is gone.
      const oldest = page.conversations.at(-1)?.updated_ms ?? 0;
      const older = page.next === null ? [] : state.list.filter((known) => known.updated_ms < oldest);
      return {
        list: mergeConversations(page.conversations, older),
        listNext: older.length > 0 ? state.listNext : page.next,
        listState: "ready",
      };
    });
  } catch {
    if (get().listState === "loading") set({ listState: "unreachable" });
  }
}

export async function loadMore(): Promise<void> {
  const { listNext, listState } = get();
  if (listNext === null || (listState !== "ready" && listState !== "moreFailed")) return;
  set({ listState: "more" });
  try {
    const page = await api.conversations(listNext, PAGE_SIZE);
    set((state) => ({
      list: mergeConversations(state.list, page.conversations),
      listNext: page.next,
      listState: "ready",
    }));
  } catch {
    // Not "ready": a search would ask again at once, and so without end.
    set({ listState: "moreFailed" });
  }
}

function changeConversation(id: string, change: Partial<Conversation>): void {
  set((state) => ({
    list: mergeConversations(state.list.map((known) => (known.id === id ? { ...known, ...change } : known))),
    open:
      state.open.id === id && state.open.conversation !== null
        ? { ...state.open, conversation: { ...state.open.conversation, ...change } }
        : state.open,
  }));
}

export async function rename(id: string, title: string): Promise<void> {
  const before = get().list.find((known) => known.id === id)?.title;
  changeConversation(id, { title });
  try {
    await api.changeConversation(id, { title });
  } catch {
    if (before !== undefined) changeConversation(id, { title: before });
    notify("renameFailed");
  }
}

export async function remove(id: string): Promise<boolean> {
  try {
    await api.deleteConversation(id);
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) {
      notify("deleteFailed");
      return false;
    }
  }
  set((state) => ({ list: state.list.filter((known) => known.id !== id) }));
  rememberDraft(id, "");
  if (get().open.id === id) startNewChat();
  return true;
}

// --- the open conversation ---

const followed = new Map<string, AbortController>();

function unfollowAll(): void {
  for (const controller of followed.values()) controller.abort();
  followed.clear();
}

/** Joins the stream of every running answer of the open conversation. */
function followRunning(): void {
  const { open } = get();
  if (open.id === null) return;
  for (const message of conversation.generating(open).slice(-FOLLOWED_MAX)) followMessage(open.id, message);
}

function followMessage(id: string, message: string): void {
  if (followed.has(message)) return;
  const [oldest] = followed.keys();
  if (oldest !== undefined && followed.size >= FOLLOWED_MAX) {
    followed.get(oldest)?.abort();
    followed.delete(oldest);
  }
  const controller = new AbortController();
  followed.set(message, controller);
  const change = (edit: (open: Open) => Open) => {
    if (!controller.signal.aborted) changeOpen(id, edit);
  };
  const buffer = new DeltaBuffer(
    (deltas) => change((open) => conversation.append(open, message, deltas, Date.now())),
    () => {
      const drawn = get().open.messages.byId[message];
      return drawPause_ms((drawn?.content.length ?? 0) + (drawn?.reasoning?.length ?? 0));
    },
  );
  const follower = {
    onSnapshot: (snapshot: Message) => {
      buffer.clear();
      change((open) => conversation.snapshot(open, snapshot, Date.now()));
    },
    onDelta: buffer.push.bind(buffer),
    onDone: (done: Message) => {
      buffer.clear();
      change((open) => conversation.done(open, done));
      void loadList();
    },
    onLost: () => {
      buffer.flush();
      change((open) => conversation.lost(open, message));
    },
    onRefused: () => {
      buffer.clear();
      void reloadOpen();
    },
  };
  void followStream(id, message, follower, controller.signal).finally(() => {
    if (followed.get(message) !== controller) return;
    followed.delete(message);
    // One that had no connection may have this one's. A refused answer is not asked for again: it is being reloaded.
    if (get().open.messages.byId[message]?.status !== "generating") followRunning();
  });
}

export function startNewChat(): void {
  unfollowAll();
  pushPath(null);
  set({ open: conversation.newOpen, newSystem: "" });
}

/** Opens a conversation and shows its address. */
export async function openConversation(id: string): Promise<void> {
  pushPath(id);
  if (get().open.id === id && get().open.state === "ready") return;
  unfollowAll();
  set({ open: conversation.loadingOpen(id) });
  await reloadOpen();
}

/** Opens a conversation at one of its messages, on whatever branch that is. */
export async function openMessage(id: string, message: string): Promise<void> {
  const { open } = get();
  if (open.id === id && open.messages.byId[message] !== undefined) {
    pushPath(id);
    changeOpen(id, (now) => conversation.want(now, message));
    return;
  }
  unfollowAll();
  pushPath(id);
  set({ open: conversation.loadingOpen(id, message) });
  await reloadOpen();
}

/** The message that was looked for is in sight. */
export function foundWanted(): void {
  changeOpen(get().open.id, (open) => ({ ...open, wanted: null }));
}

/** Reads the open conversation again and joins what is being written in it. */
export async function reloadOpen(): Promise<void> {
  const { id } = get().open;
  if (id === null) return;
  try {
    let order: readonly string[];
    let tree: ConversationTree;
    do {
      // What came to the page meanwhile may be missing from what the server read.
      order = get().open.messages.order;
      tree = await api.conversation(id);
    } while (get().open.id === id && get().open.messages.order !== order);
    changeOpen(id, (open) => conversation.loaded(open, tree));
    if (get().open.id === id) followRunning();
  } catch (error) {
    const missing = error instanceof ApiError && (error.status === 404 || error.status === 400);
    changeOpen(id, (open) => {
      if (missing) return { ...open, state: "missing" };
      return open.state === "loading" ? { ...open, state: "unreachable" } : open;
    });
  }
}

/** Keeps a text in the field of a conversation, which need not be open, above what stands there already. */
function keepDraft(conversation: string | null, text: string): void {
  if (text === "") return;
  const newer = recallDraft(conversation);
  const draft = newer === "" ? text : `${text}\n\n${newer}`;
  rememberDraft(conversation, draft);
  if (get().open.id === conversation) putDraft(draft);
}

/** What was written meanwhile goes on in the field. */
function moveDraft(from: string | null, to: string | null): void {
  const text = recallDraft(from);
  rememberDraft(from, "");
  keepDraft(to, text);
}

/** Changes the open conversation, if `pending` is still on its way in it: new chats have no id to tell them apart. */
function changeAsking(pending: Open["pending"], change: (open: Open) => Open): void {
  set((state) => (state.open.pending === pending ? { open: change(state.open) } : {}));
}

/** A conversation without a message would only clutter the list. */
function discard(id: string): void {
  void api.deleteConversation(id).catch(() => {});
}

/** The id of the open conversation, which is made on the server for `pending` if it is new. */
async function ensureConversation(pending: Open["pending"]): Promise<{ id: string; created: boolean }> {
  const { open, newSystem } = get();
  if (open.id !== null) return { id: open.id, created: false };
  let made = await api.createConversation(currentModel(get())?.name ?? null);
  try {
    if (newSystem.trim() !== "") made = await api.changeConversation(made.id, { system: newSystem });
  } catch (error) {
    discard(made.id);
    throw error;
  }
  if (get().open.pending === pending) moveDraft(null, made.id);
  changeAsking(pending, (before) => ({ ...before, id: made.id, conversation: made }));
  return { id: made.id, created: true };
}

/** Sends a message below `parent_id` and follows its answer. False when the server did not take it. */
async function ask(content: string, parent_id: string | null): Promise<boolean> {
  const from = get().open.id;
  const pending = { content, parent_id };
  const message: NewMessage = { content, parent_id, ...choices() };
  changeOpen(from, (open) => ({ ...open, pending, failure: null }));
  let made: { id: string; created: boolean } | null = null;
  try {
    made = await ensureConversation(pending);
    const { user, assistant } = await api.send(made.id, message);
    changeOpen(made.id, (open) => conversation.follow(open, user, assistant));
    if (get().open.id === made.id) {
      pushPath(made.id);
      followMessage(made.id, assistant.id);
    }
    void loadList();
    return true;
  } catch (error) {
    const failure = failureOf(error);
    const refused = (open: Open): Open => ({ ...open, pending: null, failure });
    const before = get().open;
    if (made?.created) {
      discard(made.id);
      moveDraft(made.id, null);
      changeOpen(made.id, (open) => ({ ...refused(open), id: null, conversation: null }));
    } else if (from === null) {
      changeAsking(pending, refused);
    } else {
      changeOpen(from, refused);
    }
    // Another chat is open: it is no place for this failure.
    if (get().open === before) notify("sendFailed");
    if (failure.kind === "conflict") void reloadOpen();
    return false;
  }
}

/** Sends what the composer held, at the end of the shown path. What the server does not take is in the field again. */
export async function send(content: string): Promise<boolean> {
  const { id, leaf } = get().open;
  const taken = await ask(content, leaf);
  if (!taken) keepDraft(id, content);
  return taken;
}

/** Opens a question for editing, or closes it for null. */
export function startEditing(id: string | null): void {
  changeOpen(get().open.id, (open) => {
    const text = id === null ? undefined : open.messages.byId[id]?.content;
    return { ...open, editing: id === null || text === undefined ? null : { id, text } };
  });
}

/** Asks the question `id` in other words: a sibling of it. */
export async function edit(id: string, text: string): Promise<void> {
  const conversation = get().open.id;
  const parent_id = get().open.messages.byId[id]?.parent_id ?? null;
  startEditing(null);
  const taken = await ask(text, parent_id);
  if (taken) return;
  if (get().open.id !== conversation) keepDraft(conversation, text);
  changeOpen(conversation, (open) => ({ ...open, editing: { id, text } }));
}

/** The answers for which another one, or the rest, is being asked. */
const asking = new Set<string>();

/** Asks for what is to be written instead of an answer, or on from its end, and follows it. */
async function askForMore(
  message: string,
  more: (conversation: string) => Promise<{ assistant: Message }>,
): Promise<void> {
  const { id } = get().open;
  if (id === null || asking.has(message)) return;
  asking.add(message);
  changeOpen(id, (open) => ({ ...open, failure: null }));
  try {
    const { assistant } = await more(id);
    changeOpen(id, (open) => conversation.follow(open, assistant));
    if (get().open.id === id) followMessage(id, assistant.id);
  } catch (error) {
    const failure = failureOf(error);
    changeOpen(id, (open) => ({ ...open, failure }));
    if (failure.kind === "conflict") void reloadOpen();
  } finally {
    asking.delete(message);
  }
}

export const regenerate = (message: string): Promise<void> =>
  askForMore(message, (id) => api.regenerate(id, message, choices()));

/** Goes on with an answer that ended before its end. */
export const continueAnswer = (message: string): Promise<void> =>
  askForMore(message, (id) => api.continueAnswer(id, message));

export async function stop(message: string): Promise<void> {
  const { id } = get().open;
  if (id === null) return;
  try {
    const stopped = await api.stop(id, message);
    // The stream's last event tells more, if it has come or is still to come.
    changeOpen(id, (open) => {
      const running = open.messages.byId[message]?.status === "generating";
      return running && !followed.has(message) ? conversation.done(open, stopped) : open;
    });
  } catch (error) {
    if (error instanceof ApiError && !error.unreachable) await reloadOpen();
    notify("stopFailed");
  }
}

export function showVersion(id: string): void {
  changeOpen(get().open.id, (open) => conversation.showVersion(open, id));
}

export function dismissFailure(): void {
  changeOpen(get().open.id, (open) => ({ ...open, failure: null }));
}

export async function saveSystem(system: string): Promise<boolean> {
  const { open } = get();
  if (open.id === null) {
    set({ newSystem: system });
    return true;
  }
  try {
    await api.changeConversation(open.id, { system });
    changeConversation(open.id, { system });
    return true;
  } catch {
    notify("settingsFailed");
    return false;
  }
}

// --- whose page it is ---

export async function refresh(): Promise<void> {
  await Promise.all([loadModels(), loadList(), reloadOpen()]);
}

/** Reads what the page shows of the user whose things are kept from now on. */
export function enter(): void {
  set({ newModel: recallOwn("model"), thinking: recallOwn("thinking") !== "off" });
  void loadModels();
  void loadList();
}

/** Forgets everything of the user, and what is on its way for them; only what the server never took stays, as a draft. */
export function leave(): void {
  const { pending } = get().open;
  const place = conversationOfPath(window.location.pathname);
  if (pending !== null && recallDraft(place) === "") rememberDraft(place, pending.content);
  cutOff();
  unfollowAll();
  asking.clear();
  const { serverLost, draft } = get();
  set({ ...empty, serverLost, draft: { text: "", serial: draft.serial } });
}
