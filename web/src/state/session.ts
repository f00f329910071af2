import { create } from "zustand";
import { ApiError, api, type NewUser } from "../api/client";
import type { Session } from "../api/types";
import { allowedPath, conversationOfPath, type Page, pageOfPath } from "./route";
import { forgetOwned, setOwner } from "./storage";
import { enter, leave, notify, openConversation, startNewChat, useStore } from "./store";

/** Why one is asked to sign in. */
type EntryNote = "ended" | "signedOut" | "deleted" | "alreadySetUp" | "signUpClosed";

interface State extends Session {
  state: "asking" | "known" | "unreachable";
  page: Page;
  /** The address that `page` was read from. */
  address: string;
  note: EntryNote | null;
}

export const useSession = create<State>(() => ({
  state: "asking",
  user: null,
  setup: false,
  sign_up: false,
  page: "chat",
  address: "/",
  note: null,
}));

const { getState: get, setState: set } = useSession;

// --- what the address shows ---

function showConversation(id: string | null): void {
  if (id !== null) void openConversation(id);
  else if (useStore.getState().open.id !== null) startNewChat();
}

/** Shows what the address names, or what stands in for it. */
export function settle(): void {
  if (get().state !== "known") return;
  const { pathname, search } = window.location;
  const allowed = allowedPath(pathname, search, get());
  if (allowed !== pathname + search) window.history.replaceState(null, "", allowed);
  const page = pageOfPath(window.location.pathname);
  const address = window.location.pathname + window.location.search;
  if (page !== get().page || address !== get().address) set({ page, address });
  if (page === "chat") showConversation(conversationOfPath(window.location.pathname));
}

export function go(path: string): void {
  const { pathname, search } = window.location;
  if (path !== pathname + search) window.history.pushState(null, "", path);
  set({ note: null });
  settle();
}

// --- whose session it is ---

/** Counts what was learned of the session, so that an answer that comes late says nothing any more. */
let learned = 0;

/** Whether signing out is under way. */
let leaving = false;

/** Takes what the server says of the session. Nothing of one user is left when it is another's. */
function take(session: Session, note: EntryNote | null = null): void {
  learned += 1;
  const before = get();
  const changed = before.user?.id !== session.user?.id;
  if (changed && before.user !== null) leave();
  if (changed) leaving = false;
  if (changed) setOwner(session.user?.id ?? "");
  const { user, setup, sign_up } = session;
  set({ state: "known", user, setup, sign_up, note });
  const promoted = before.user?.role !== user?.role;
  if (changed || promoted || before.state !== "known" || before.setup !== setup || before.sign_up !== sign_up)
    settle();
  if (changed && user !== null) enter();
}

/** Asks the server who is signed in. */
export async function askSession(): Promise<void> {
  learned += 1;
  const asked = learned;
  try {
    const session = await api.session();
    if (asked !== learned) return;
    const { user, note } = get();
    take(session, user !== null && session.user === null ? "ended" : note);
  } catch {
    if (get().state === "asking") set({ state: "unreachable" });
  }
}

const nobody = (): Session => ({ user: null, setup: false, sign_up: get().sign_up });

/** One's own wish to go, or the end of the account: unlike a session that has run out, it leaves nothing in the browser. */
function leaveForGood(note: EntryNote): void {
  // The next one to sign in here has no business at this address.
  window.history.replaceState(null, "", "/login");
  take(nobody(), note);
  forgetOwned();
  tellOthers("left");
}

/** The server knows no session of ours any more: it has run out, or was revoked elsewhere. */
export function onSessionLost(): void {
  if (get().user === null) return;
  if (leaving) leaveForGood("signedOut");
  else take(nobody(), "ended");
  void askSession();
}

// --- coming and going ---

export async function login(name: string, password: string): Promise<void> {
  set({ note: null });
  take(await api.login(name, password));
  tellOthers("entered");
}

export async function signUp(user: NewUser): Promise<void> {
  await enterOrBack(api.signUp(user), "sign_up_closed", "signUpClosed");
}

export async function setUp(token: string, user: NewUser): Promise<void> {
  await enterOrBack(api.setUp(token, user), "already_set_up", "alreadySetUp");
}

/** Takes the new user's session; where the door has closed meanwhile, one is brought to the login. */
async function enterOrBack(made: Promise<Session>, closed: string, note: EntryNote): Promise<void> {
  set({ note: null });
  try {
    take(await made);
    tellOthers("entered");
  } catch (error) {
    if (!(error instanceof ApiError && error.code === closed)) throw error;
    const sign_up = note === "signUpClosed" ? false : get().sign_up;
    take({ ...nobody(), sign_up }, note);
    await askSession();
  }
}

export async function signOut(): Promise<void> {
  leaving = true;
  try {
    await api.logout();
    leaveForGood("signedOut");
  } catch {
    notify("signOutFailed");
  } finally {
    leaving = false;
  }
}

export async function deleteAccount(password: string): Promise<void> {
  await api.deleteAccount(password);
  leaveForGood("deleted");
}

// --- other tabs ---

let tabs: BroadcastChannel | null = null;

type News = "entered" | "left";

/** All tabs share one cookie: when it changes in one, the others must not go on with another's page. */
function tellOthers(news: News): void {
  tabs?.postMessage(news);
}

export function listenToOthers(): void {
  if (typeof BroadcastChannel === "undefined") return;
  tabs = new BroadcastChannel("cachalot");
  tabs.addEventListener("message", async ({ data }: MessageEvent<News>) => {
    await askSession();
    if (data === "left" && get().user === null) forgetOwned();
  });
}
