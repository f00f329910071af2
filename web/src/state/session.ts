import { create } from "zustand";
import { type Admission, ApiError, api, type NewUser } from "../api/client";
import type { Waiting } from "../api/gate";
import { type Password, type SecondFactor, type SignUpAnswer, security } from "../api/security";
import type { Session } from "../api/types";
import { forgetNewcomer } from "./newcomer";
import {
  allowedPath,
  conversationOfPath,
  type Page,
  type ProviderError,
  pageOfPath,
  providerErrorOf,
  withoutProviderError,
} from "./route";
import { forgetOwned, setOwner } from "./storage";
import { enter, leave, notify, openConversation, startNewChat, useStore } from "./store";

/** Why one is asked to sign in, or what has come of a letter. */
type EntryNote =
  | "ended"
  | "signedOut"
  | "deleted"
  | "alreadySetUp"
  | "signUpClosed"
  | "tooLate"
  | "confirmAgain"
  | "emailConfirmed"
  | "passwordReset";

interface State extends Session {
  state: "asking" | "known" | "unreachable";
  page: Page;
  /** The address that `page` was read from. */
  address: string;
  note: EntryNote | null;
  /** What went wrong at the provider from which one comes back. */
  providerError: ProviderError | null;
}

/** Nothing to be told any more. */
const quiet = { note: null, providerError: null };

export const useSession = create<State>(() => ({
  state: "asking",
  user: null,
  setup: false,
  sign_up: false,
  mail: false,
  passkeys: false,
  providers: [],
  page: "chat",
  address: "/",
  ...quiet,
}));

const { getState: get, setState: set } = useSession;

// --- what the address shows ---

function showConversation(id: string | null): void {
  if (id !== null) void openConversation(id);
  else if (useStore.getState().open.id !== null) startNewChat();
}

/**
 * Takes the error of a provider out of the address, where it would be told once more after signing in. The way back is the
 * login, or the account's page for whoever wanted to link it; whoever is signed in is told there in both cases.
 */
function takeProviderError(): void {
  const { pathname, search } = window.location;
  const page = pageOfPath(pathname);
  const error = page === "login" || page === "account" ? providerErrorOf(search) : null;
  if (error === null) return;
  const path = get().user === null ? pathname + withoutProviderError(search) : "/account";
  window.history.replaceState(null, "", path);
  set({ providerError: error });
}

/** Shows what the address names, or what stands in for it. */
export function settle(): void {
  if (get().state !== "known") return;
  takeProviderError();
  const { pathname, search } = window.location;
  const allowed = allowedPath(pathname, search, get());
  if (allowed !== pathname + search) window.history.replaceState(null, "", allowed);
  const page = pageOfPath(window.location.pathname);
  const address = window.location.pathname + window.location.search;
  if (page !== get().page || address !== get().address) set({ page, address });
  if (page === "chat") showConversation(conversationOfPath(window.location.pathname));
}

export function go(path: string): void {
  const { pathname, search, hash } = window.location;
  if (path !== pathname + search + hash) window.history.pushState(null, "", path);
  set(quiet);
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
  const { user, setup, sign_up, mail, passkeys, providers } = session;
  set({ state: "known", user, setup, sign_up, mail, passkeys, providers, note });
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

function nobody(): Session {
  const { sign_up, mail, passkeys, providers } = get();
  return { user: null, setup: false, sign_up, mail, passkeys, providers };
}

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

function admit(session: Session): void {
  forgetNewcomer();
  take(session);
  tellOthers("entered");
}

/** Signs in, or gives what a code has to be sent with. */
export async function login(
  name: string,
  password: string,
  challenge?: string,
): Promise<SecondFactor | null> {
  set(quiet);
  const answer = await security.login(name, password, challenge);
  if ("second_factor" in answer) return answer.second_factor;
  admit(answer);
  return null;
}

/** Signs in by the code; false when it came too late, and the password is asked for again. */
export async function loginSecond(ticket: string, code: string): Promise<boolean> {
  try {
    admit(await security.loginSecond(ticket, code));
  } catch (error) {
    if (!(error instanceof ApiError && error.code === "ticket_expired")) throw error;
    set({ note: "tooLate" });
    return false;
  }
  return true;
}

export async function loginPasskey(ticket: string, credential: AuthenticationResponseJSON): Promise<void> {
  set(quiet);
  admit(await security.loginPasskey(ticket, credential));
}

/** Makes an account and signs in with it; or gives what has to come first. */
export async function signUp(user: NewUser & Admission): Promise<Delayed | null> {
  return enterOrBack(security.signUp(user), "sign_up_closed", "signUpClosed");
}

export async function setUp(token: string, user: NewUser): Promise<void> {
  await enterOrBack(api.setUp(token, user), "already_set_up", "alreadySetUp");
}

/** Why there is no account yet: a letter has to be answered, or others come first. */
type Delayed = Exclude<SignUpAnswer, Session>;

/** Takes the new user's session, if there is one yet; where the door has closed meanwhile, one is brought to the login. */
async function enterOrBack(
  made: Promise<SignUpAnswer>,
  closed: string,
  note: EntryNote,
): Promise<Delayed | null> {
  set(quiet);
  try {
    const answer = await made;
    if ("mailed" in answer || "waiting" in answer) return answer;
    admit(answer);
    return null;
  } catch (error) {
    if (!(error instanceof ApiError && error.code === closed)) throw error;
    const sign_up = note === "signUpClosed" ? false : get().sign_up;
    take({ ...nobody(), sign_up }, note);
    await askSession();
    return null;
  }
}

/**
 * Answers a letter: it makes an account and signs in with it, or confirms the address of one that there is. What it gives is the
 * place in the waiting list where others come first.
 */
export async function verify(ticket: string, place: string | null = null): Promise<Waiting | null> {
  set(quiet);
  const before = get().user?.id;
  const session = await security.verify(ticket, place);
  if ("waiting" in session) return session.waiting;
  const own = session.user?.id === before;
  // The link has done what it could, and need not stay in the browser's history.
  window.history.replaceState(null, "", own ? "/account" : "/");
  forgetNewcomer();
  take(session, own ? "emailConfirmed" : null);
  settle();
  tellOthers("entered");
  return null;
}

/** Sets the password that a letter allows to choose. It has ended all sessions of its user. */
export async function resetPassword(ticket: string, password: string): Promise<void> {
  set(quiet);
  await security.reset(ticket, password);
  window.history.replaceState(null, "", "/login");
  take(nobody(), "passwordReset");
  settle();
  tellOthers("entered");
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

/** Leads through the login and back to the account, as whoever has no password proves who they are. */
export async function signInAgain(): Promise<void> {
  leaving = true;
  try {
    await api.logout();
    take(nobody(), "confirmAgain");
    tellOthers("entered");
  } catch {
    notify("signOutFailed");
  } finally {
    leaving = false;
  }
}

export async function deleteAccount(password: Password): Promise<void> {
  await security.deleteAccount(password);
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
