import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { onSignedOut } from "../api/client";
import type { Session } from "../api/types";
import { conversation, session as sessionOf, user } from "../testing";
import * as session from "./session";
import { recallDraft, rememberDraft, rememberOwn, setOwner } from "./storage";
import { send, useStore } from "./store";

const { useSession } = session;

const of = (id: string | null): Session => sessionOf({ user: id === null ? null : user(id) });
const error = (status: number, code: string) =>
  Response.json({ error: { message: code, code, type: "x", param: null } }, { status });

type Answers = Record<string, () => unknown>;

function serve(answers: Answers): void {
  vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
    const found = answers[`${init.method ?? "GET"} ${path.split("?")[0]}`];
    if (found === undefined) throw new TypeError(`nothing is prepared for ${path}`);
    const body = await found();
    if (body instanceof Response) return body;
    return typeof body === "number" ? new Response(null, { status: body }) : Response.json(body);
  });
}

const chats = (...ids: string[]) => ({
  conversations: ids.map((id, at) => conversation(id, at + 1)),
  next: null,
});
const quiet: Answers = {
  "GET /api/models": () => ({ models: [], default: null }),
  "GET /api/conversations": () => chats("hers"),
};
const shown = () => useStore.getState().list.map(({ id }) => id);
const address = () => window.location.pathname + window.location.search;

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  setOwner("");
  window.history.replaceState(null, "", "/");
  useSession.setState(useSession.getInitialState());
  useStore.setState(useStore.getInitialState());
  onSignedOut(session.onSessionLost);
});
afterEach(() => vi.unstubAllGlobals());

async function enterAs(id: string, answers: Answers = quiet): Promise<void> {
  serve({ ...answers, "POST /api/login": () => of(id) });
  await session.login(id, "password");
  await vi.waitFor(() => expect(useStore.getState().listState).toBe("ready"));
}

describe("at the start", () => {
  it("brings a stranger to the login, and knows where they wanted to go", async () => {
    window.history.replaceState(null, "", "/account");
    serve({ "GET /api/session": () => of(null) });
    await session.askSession();
    expect(address()).toBe("/login?next=%2Faccount");
    expect(useSession.getState()).toMatchObject({ state: "known", page: "login", note: null });
    await enterAs("ada");
    expect(address()).toBe("/account");
    expect(useSession.getState().page).toBe("account");
    expect(shown()).toEqual(["hers"]);
  });

  it("brings the first one to the setup", async () => {
    serve({ "GET /api/session": () => ({ ...of(null), setup: true }) });
    await session.askSession();
    expect(address()).toBe("/setup");
  });

  it("says that the server is gone, and goes on when it is back", async () => {
    serve({});
    await session.askSession();
    expect(useSession.getState().state).toBe("unreachable");
    serve({ ...quiet, "GET /api/session": () => of("ada") });
    await session.askSession();
    expect(useSession.getState()).toMatchObject({ state: "known", page: "chat" });
  });
});

describe("a session that has ended", () => {
  it("keeps what the server did not take, for the same user only", async () => {
    await enterAs("ada");
    rememberOwn("model", "thinker");
    serve({
      "POST /api/conversations": () => error(401, "not_signed_in"),
      "GET /api/session": () => of(null),
    });
    void send("Half a thought");
    await vi.waitFor(() => expect(useSession.getState().user).toBeNull());
    expect(useSession.getState().note).toBe("ended");
    expect(address()).toBe("/login");
    expect(shown()).toEqual([]);
    expect(useStore.getState().open.pending).toBeNull();
    expect(recallDraft(null)).toBe("");

    await enterAs("ada");
    expect(recallDraft(null)).toBe("Half a thought");
    expect(useStore.getState().newModel).toBe("thinker");
    serve({ "GET /api/session": () => of(null) });
    await session.askSession();
    await enterAs("grace");
    expect(recallDraft(null)).toBe("");
    expect(useStore.getState().newModel).toBeNull();
    expect(JSON.stringify([{ ...localStorage }, { ...sessionStorage }])).not.toContain("thought");
  });

  it("is not what a wrong password says", async () => {
    await enterAs("ada");
    serve({ "POST /api/account/delete": () => error(401, "wrong_password") });
    await expect(session.deleteAccount("no")).rejects.toMatchObject({ code: "wrong_password" });
    expect(useSession.getState().user?.id).toBe("ada");
  });
});

describe("what is on its way for one user", () => {
  it("does not reach the next", async () => {
    await enterAs("ada");
    let late = (_page: unknown) => {};
    const waiting = new Promise((resolve) => {
      late = resolve;
    });
    serve({ "GET /api/conversations": () => waiting, "GET /api/session": () => of("grace") });
    const { loadList } = await import("./store");
    void loadList();
    serve({
      ...quiet,
      "GET /api/conversations": () => chats("graces"),
      "GET /api/session": () => of("grace"),
    });
    await session.askSession();
    await vi.waitFor(() => expect(shown()).toEqual(["graces"]));
    late(chats("hers"));
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(shown()).toEqual(["graces"]);
  });

  it("nor does an older answer undo a login", async () => {
    let late = (_session: unknown) => {};
    serve({
      "GET /api/session": () =>
        new Promise((resolve) => {
          late = resolve;
        }),
    });
    const asking = session.askSession();
    await enterAs("ada");
    late(of(null));
    await asking;
    expect(useSession.getState().user?.id).toBe("ada");
  });
});

describe("signing out", () => {
  it("leaves nothing behind, neither in the page nor in the browser", async () => {
    await enterAs("ada");
    window.history.replaceState(null, "", "/c/hers");
    rememberDraft("hers", "secret");
    rememberOwn("model", "secret");
    localStorage.setItem("cachalot.theme", "dark");
    serve({ "POST /api/logout": () => 204 });
    await session.signOut();
    expect(useSession.getState()).toMatchObject({ user: null, page: "login", note: "signedOut" });
    expect(address()).toBe("/login");
    expect(shown()).toEqual([]);
    expect({ ...localStorage, ...sessionStorage }).toEqual({ "cachalot.theme": "dark" });
  });

  it("is not told as done when the server did not do it", async () => {
    await enterAs("ada");
    serve({});
    await session.signOut();
    expect(useSession.getState().user?.id).toBe("ada");
    expect(useStore.getState().notice?.text).toBe("signOutFailed");
  });

  it("is done when the session was over already", async () => {
    await enterAs("ada");
    rememberDraft(null, "secret");
    serve({ "POST /api/logout": () => error(401, "not_signed_in"), "GET /api/session": () => of(null) });
    void session.signOut();
    await vi.waitFor(() => expect(useSession.getState().user).toBeNull());
    expect(useSession.getState().note).toBe("signedOut");
    expect({ ...sessionStorage }).toEqual({});
  });

  it("comes with the end of the account", async () => {
    await enterAs("ada");
    rememberDraft(null, "secret");
    serve({ "POST /api/account/delete": () => 204 });
    await session.deleteAccount("password");
    expect(useSession.getState()).toMatchObject({ user: null, note: "deleted" });
    expect({ ...sessionStorage }).toEqual({});
  });
});

it("a door that has closed meanwhile leads to the login", async () => {
  window.history.replaceState(null, "", "/sign-up");
  serve({ "GET /api/session": () => of(null) });
  await session.askSession();
  serve({
    "POST /api/sign-up": () => error(403, "sign_up_closed"),
    "GET /api/session": () => ({ ...of(null), sign_up: false }),
  });
  await session.signUp({ name: "ada", password: "password" });
  expect(useSession.getState()).toMatchObject({ page: "login", note: "signUpClosed", sign_up: false });
});

describe("a second factor", () => {
  const second = { second_factor: { ticket: "t", expires_s: 300 } };

  it("is asked for before anybody is signed in", async () => {
    serve({ "POST /api/login": () => second });
    await expect(session.login("ada", "password")).resolves.toEqual(second.second_factor);
    expect(useSession.getState().user).toBeNull();
    serve({ ...quiet, "POST /api/login/second": () => of("ada") });
    await expect(session.loginSecond("t", "123456")).resolves.toBe(true);
    expect(useSession.getState().user?.id).toBe("ada");
  });

  it("that comes too late has the password asked for again; a wrong one is told", async () => {
    serve({ "POST /api/login/second": () => error(401, "ticket_expired") });
    await expect(session.loginSecond("t", "123456")).resolves.toBe(false);
    expect(useSession.getState().note).toBe("tooLate");
    serve({ "POST /api/login/second": () => error(401, "wrong_code") });
    await expect(session.loginSecond("t", "1")).rejects.toMatchObject({ code: "wrong_code" });
  });
});

describe("a letter", () => {
  const at = async (path: string, now: Session) => {
    window.history.replaceState(null, "", path);
    serve({ ...quiet, "GET /api/session": () => now });
    await session.askSession();
    session.settle();
    expect(useSession.getState().page).toBe(path.slice(1, path.indexOf("#")));
  };

  it("is what a sign-up waits for, where letters are sent", async () => {
    serve({ "POST /api/sign-up": () => ({ mailed: true }) });
    await expect(session.signUp({ name: "a", email: "a@b", password: "p" })).resolves.toEqual({
      mailed: true,
    });
    expect(useSession.getState().user).toBeNull();
    serve({ ...quiet, "POST /api/sign-up": () => of("ada") });
    await expect(session.signUp({ name: "a", password: "p" })).resolves.toBeNull();
    expect(useSession.getState().user?.id).toBe("ada");
  });

  it("makes the account and signs in, also where another one was", async () => {
    for (const before of [null, "grace"]) {
      await at("/verify#t", of(before));
      serve({ ...quiet, "POST /api/verify": () => of("ada") });
      await session.verify("t");
      expect(useSession.getState()).toMatchObject({ page: "chat", note: null, user: { id: "ada" } });
      expect(address() + window.location.hash).toBe("/");
    }
  });

  it("may lead to a place in line first, with which it is answered once more", async () => {
    await at("/verify#t", of(null));
    const waiting = { place: "p", ahead: 3, called_up: false, about_seconds: 9, ask_again_seconds: 2 };
    serve({ "POST /api/verify": () => ({ waiting }) });
    await expect(session.verify("t")).resolves.toEqual(waiting);
    expect(useSession.getState()).toMatchObject({ page: "verify", user: null });
    expect(window.location.hash).toBe("#t");
    serve({ ...quiet, "POST /api/verify": () => of("ada") });
    await expect(session.verify("t", "p")).resolves.toBeNull();
    expect(useSession.getState()).toMatchObject({ page: "chat", user: { id: "ada" } });
  });

  it("confirms an address, and says so on the account's page or at the login", async () => {
    await at("/verify#t", of("ada"));
    serve({ ...quiet, "POST /api/verify": () => sessionOf({ user: user("ada", { email: "a@b" }) }) });
    await session.verify("t");
    expect(useSession.getState()).toMatchObject({ page: "account", note: "emailConfirmed" });
    expect(useSession.getState().user?.email).toBe("a@b");
    await at("/verify#t", of(null));
    serve({ "POST /api/verify": () => of(null) });
    await session.verify("t");
    expect(useSession.getState()).toMatchObject({ page: "login", note: "emailConfirmed" });
    expect(address() + window.location.hash).toBe("/login?next=%2Faccount");
  });

  it("that is spent changes nothing", async () => {
    await at("/verify#t", of("ada"));
    serve({ "POST /api/verify": () => error(400, "ticket_invalid") });
    await expect(session.verify("t")).rejects.toMatchObject({ code: "ticket_invalid" });
    expect(useSession.getState()).toMatchObject({ page: "verify", user: { id: "ada" } });
  });

  it("sets another password, with which one signs in anew", async () => {
    for (const before of [null, "ada"]) {
      await at("/reset#t", of(before));
      serve({ "POST /api/reset/confirm": () => 204 });
      await session.resetPassword("t", "other words");
      expect(useSession.getState()).toMatchObject({ page: "login", note: "passwordReset", user: null });
      expect(address() + window.location.hash).toBe("/login");
    }
  });
});

it("whoever has no password proves who they are by signing in again, and comes back", async () => {
  await enterAs("ada");
  rememberDraft(null, "half a thought");
  window.history.replaceState(null, "", "/account");
  serve({ "POST /api/logout": () => 204 });
  await session.signInAgain();
  expect(useSession.getState()).toMatchObject({ user: null, page: "login", note: "confirmAgain" });
  expect(address()).toBe("/login?next=%2Faccount");
  await enterAs("ada");
  expect(address()).toBe("/account");
  expect(recallDraft(null)).toBe("half a thought");
});

it.each(["/account", "/login"])(
  "the error of a provider at %s is told on the account's page to whoever is signed in, until they go on",
  async (path) => {
    window.history.replaceState(null, "", `${path}?error=oidc_taken`);
    serve({ ...quiet, "GET /api/session": () => of("ada") });
    await session.askSession();
    expect(address()).toBe("/account");
    expect(useSession.getState()).toMatchObject({ page: "account", providerError: "oidc_taken" });
    session.go("/");
    expect(useSession.getState().providerError).toBeNull();
  },
);

it("the error of a provider is told to whose session has ended meanwhile", async () => {
  window.history.replaceState(null, "", "/account?error=oidc_expired");
  serve({ "GET /api/session": () => of(null) });
  await session.askSession();
  expect(useSession.getState()).toMatchObject({ page: "login", providerError: "oidc_expired" });
  expect(address()).toBe("/login?next=%2Faccount");
});

it("and is not told again to whoever signs in after it", async () => {
  window.history.replaceState(null, "", "/login?error=oidc_denied");
  serve({ "GET /api/session": () => of(null) });
  await session.askSession();
  expect(useSession.getState().providerError).toBe("oidc_denied");
  await enterAs("ada");
  expect(useSession.getState()).toMatchObject({ page: "chat", providerError: null });
  expect(address()).toBe("/");
});
