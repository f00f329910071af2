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
