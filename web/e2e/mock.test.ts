// @vitest-environment node
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import { admin, EVERYONE } from "../src/api/admin";
import { api, call } from "../src/api/client";
import { data } from "../src/api/data";
import { type Challenge, gate, keeper } from "../src/api/gate";
import { type Period, programs, reference, type Whose } from "../src/api/programs";
import { security } from "../src/api/security";
import { solveShare } from "../src/api/solver";
import type { Schemas } from "../src/api/types";
import { Contract } from "./contract";
import { totpCode } from "./totp";

/**
 * The stand-in for the server that one works on the page with, asked whatever the page asks: its answers, and the page's
 * requests, are as the server's description has them.
 */

const contract = new Contract(new URL("../../docs/openapi.json", import.meta.url));
const PASSWORD = "whales sing deep";

let mock: ChildProcess;
let base = "";
let cookie = "";
/** Letters that were printed, the newest first. */
const letters: string[] = [];
/** What was asked, and what is wrong with it. */
const asked: { request: string; wrongs: string[] }[] = [];

const reach = fetch;

/** As a browser would, and with an eye on what goes over the wire. */
async function watched(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = { ...(init.headers as Record<string, string>), cookie, "user-agent": "a test" };
  const response = await reach(base + path, { ...init, headers });
  cookie = response.headers.get("set-cookie")?.split(";")[0] ?? cookie;
  const { pathname } = new URL(base + path);
  const isApi = pathname.startsWith("/api/") || pathname === "/status";
  if (isApi && response.headers.get("content-type") !== "text/event-stream") {
    const text = await response.clone().text();
    const isJson = response.headers.get("content-type") === "application/json";
    const answer = text === "" ? undefined : isJson ? JSON.parse(text) : text;
    const sent = typeof init.body === "string" ? JSON.parse(init.body) : undefined;
    const method = init.method ?? "GET";
    const wrongs = contract.wrongs(method, pathname, sent, response.status, answer);
    asked.push({ request: `${method} ${pathname} -> ${response.status}`, wrongs });
  }
  return response;
}

/** The answer to a challenge, as the page sends it. */
async function solved(challenge: Challenge): Promise<string> {
  let counter = -1;
  await solveShare({ challenge, first: 0, step: 1 }, (said) => {
    if ("counter" in said) ({ counter } = said);
  });
  return btoa(JSON.stringify({ challenge, solution: { counter } }));
}

const newestTicket = async (): Promise<string> => {
  await vi.waitFor(() => expect(letters.length).toBeGreaterThan(0));
  return letters.shift()?.split("#")[1] ?? "";
};

beforeAll(async () => {
  const script = fileURLToPath(new URL("mock-server.mjs", import.meta.url));
  mock = spawn(process.execPath, [script], {
    env: { ...process.env, PORT: "0", PAUSE_MS: "0" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (mock.stdout === null) throw new Error("the mock server has no output");
  const lines = createInterface(mock.stdout);
  lines.on("line", (line) => {
    if (line.startsWith("mock letter: ")) letters.unshift(line);
  });
  const [first] = (await once(lines, "line")) as [string];
  base = first.replace(/^mock: /, "").replace(/\/$/, "");
  vi.stubGlobal("fetch", watched);
  vi.stubGlobal("document", { documentElement: { lang: "en" } });
});

afterAll(() => {
  mock.kill();
});

type Calls<Api> = Record<keyof Api, () => Promise<unknown>>;

/** Makes all calls, one after another as they stand; each has to be answered, and as the description has it. */
async function holds<Api>(calls: Calls<Api>): Promise<void> {
  asked.length = 0;
  for (const call of Object.values<() => Promise<unknown>>(calls)) await call();
  expect(asked.length).toBeGreaterThanOrEqual(Object.keys(calls).length);
  expect(asked.filter(({ wrongs }) => wrongs.length > 0)).toEqual([]);
}

const credential = (id: string) => ({ id }) as never;

it("proves who one is as the server does", async () => {
  let ticket = "";
  let passkey = "";
  let totp = { ticket: "", secret: "" };
  await holds<typeof security>({
    askReset: () => security.askReset("ada@example.org"),
    reset: async () => security.reset(await newestTicket(), PASSWORD),
    signUp: () => security.signUp({ name: "moby", email: "moby@example.org", password: PASSWORD }),
    verify: async () => security.verify(await newestTicket()),
    login: async () => {
      await expect(security.login("ada", "wrong")).rejects.toMatchObject({ status: 401 });
      return security.login("ada", PASSWORD);
    },
    state: () => security.state(),
    changePassword: () => security.changePassword(PASSWORD, PASSWORD),
    changeEmail: () => security.changeEmail("ada@example.net", PASSWORD),
    passkeyOptions: async () => {
      ({ ticket } = await security.passkeyOptions(PASSWORD));
    },
    addPasskey: async () => {
      ({ id: passkey } = await security.addPasskey(ticket, "a key", credential("c")));
    },
    renamePasskey: () => security.renamePasskey(passkey, "the key"),
    loginPasskeyOptions: async () => {
      ({ ticket } = await security.loginPasskeyOptions());
    },
    loginPasskey: () => security.loginPasskey(ticket, credential("c")),
    removePasskey: () => security.removePasskey(passkey, PASSWORD),
    beginTotp: async () => {
      totp = await security.beginTotp(PASSWORD);
    },
    confirmTotp: () => security.confirmTotp(totp.ticket, totpCode(totp.secret)),
    newRecoveryCodes: () => security.newRecoveryCodes(PASSWORD),
    loginSecond: async () => {
      const { recovery_codes } = await security.newRecoveryCodes(PASSWORD);
      const answer = await security.login("ada", PASSWORD);
      if (!("second_factor" in answer)) throw new Error("no code is asked for");
      return security.loginSecond(answer.second_factor.ticket, recovery_codes[0] ?? "");
    },
    removeTotp: () => security.removeTotp(PASSWORD),
    linkProvider: () => security.linkProvider("harbour", PASSWORD),
    unlinkProvider: () => security.unlinkProvider("harbour", PASSWORD),
    deleteAccount: async () => {
      await security.login("moby", PASSWORD);
      await security.deleteAccount(PASSWORD);
    },
  });
});

it("chats as the server does", async () => {
  await security.login("ada", PASSWORD);
  let conversation = "";
  let answer = "";
  await holds<typeof api>({
    setUp: async () => {
      const user = { name: "somebody", password: PASSWORD };
      await expect(api.setUp("no token", user)).rejects.toMatchObject({ status: 409 });
    },
    session: () => api.session(),
    sessions: () => api.sessions(),
    models: () => api.models(),
    conversations: () => api.conversations(null, 5),
    createConversation: async () => {
      ({ id: conversation } = await api.createConversation(null));
    },
    changeConversation: () => api.changeConversation(conversation, { title: "Depths", system: "Be brief." }),
    send: async () => {
      const turn = await api.send(conversation, { content: "How deep?", parent_id: null });
      answer = turn.assistant.id;
    },
    stop: () => api.stop(conversation, answer),
    continueAnswer: () => api.continueAnswer(conversation, answer),
    regenerate: () => api.regenerate(conversation, answer, { thinking: false }),
    conversation: () => api.conversation(conversation),
    deleteConversation: () => api.deleteConversation(conversation),
    revokeSession: async () => {
      const { sessions } = await api.sessions();
      await api.revokeSession(sessions.find(({ current }) => !current)?.id ?? "");
    },
    revokeOtherSessions: () => api.revokeOtherSessions(),
    logout: () => api.logout(),
  });
});

it("keeps what one has as the server does", async () => {
  await security.login("ada", PASSWORD);
  await holds<typeof data>({
    settings: () => data.settings(),
    changeSettings: () => data.changeSettings({ retention_days: 30 }),
    search: async () => {
      const { signal } = new AbortController();
      const { results } = await data.search("part", 5, signal);
      expect(results.length).toBeGreaterThan(0);
      // Imports are sent by other means, which report how far they are.
      const chats = [{ id: "1", title: "", messages: [] }];
      const body = JSON.stringify({ format: "cachalot", conversations: chats });
      const headers = { "content-type": "application/octet-stream" };
      await watched("/api/account/import", { method: "POST", headers, body: new Blob([body]) });
    },
  });
});

it("serves programs as the server does", async () => {
  const session = await security.login("ada", PASSWORD);
  const ada = "user" in session ? (session.user?.id ?? "") : "";
  const { signal } = new AbortController();
  const period: Period = { since_ms: Date.now() - 9 * 86_400_000, by: "day", zone_minutes: 0 };
  const all: Whose = { scope: "all", user: null };
  let key = "";
  await holds<typeof programs>({
    addKey: async () => {
      ({
        key: { id: key },
      } = await programs.addKey({ name: "a program", spend_max: "1" }));
    },
    changeKey: () => programs.changeKey(key, { requests_per_day: 5, models: null }),
    keys: () => programs.keys(),
    revokeKey: () => programs.revokeKey(key),
    balance: () => programs.balance(),
    sums: async () => {
      await programs.sums({ scope: "own", key: null }, period, signal);
      await programs.sums(all, { ...period, by: "hour" }, signal);
    },
    usage: async () => {
      await programs.usage({ scope: "own", key: null }, null, 5, signal);
      await programs.usage(all, "5", 5, signal);
    },
    prices: () => programs.prices(),
    userBalance: () => programs.userBalance(ada),
    addCredit: () => programs.addCredit(ada, { kind: "grant", amount: "1", note: "" }),
    userKeys: async () => {
      ({
        key: { id: key },
      } = await programs.addKey({ name: "another" }));
      await programs.userKeys(ada);
    },
    revokeUserKey: () => programs.revokeUserKey(ada, key),
  });
  expect((await reference()).openapi).toBe("3.1.0");
});

it("lets newcomers in as the server does", async () => {
  const { signal } = new AbortController();
  let place = "";
  await security.login("ada", PASSWORD);
  await holds<typeof keeper>({
    stand: () => keeper.stand(),
    pin: () => keeper.pin("waiting_list", "a test"),
    invite: () => keeper.invite(2, 7),
  });
  const user = { name: "pip", email: "pip@example.org", password: PASSWORD };
  await holds<typeof gate>({
    status: () => gate.status(signal),
    place: async () => {
      const { challenge } = await call<Schemas["ChallengeGiven"]>("POST", "/api/challenges", {
        action: "sign_up",
      });
      await expect(security.signUp(user)).rejects.toMatchObject({ status: 428 });
      const answer = await security.signUp({ ...user, challenge: await solved(challenge) });
      if (!("waiting" in answer)) throw new Error("there is no place");
      ({ place } = answer.waiting);
      await gate.place(place, signal);
    },
    leavePlace: () => gate.leavePlace(place),
  });
  await keeper.pin(null, "");
});

it("is looked after as the server is", async () => {
  await security.login("ada", PASSWORD);
  let user = "";
  let group = "";
  await holds<typeof admin>({
    users: () => admin.users({ q: "", after: null, limit: 20 }),
    groups: () => admin.groups(),
    addGroup: async () => {
      const limits = { answers_at_once: 1, messages_per_day: null, output_tokens_max: null };
      ({ id: group } = await admin.addGroup({ name: "Divers", models: null, limits }));
    },
    addUser: async () => {
      ({
        user: { id: user },
      } = await admin.addUser({ name: "starbuck", role: "user", groups: [group] }));
    },
    user: () => admin.user(user),
    changeUser: async () => {
      await admin.changeUser(user, { groups: [EVERYONE] });
      await admin.changeUser(user, { disabled: true });
    },
    newPassword: () => admin.newPassword(user),
    clearFactors: () => admin.clearFactors(user),
    sessions: async () => {
      const { users } = await admin.users({ q: "", after: null, limit: 20 });
      for (const { id } of users) await admin.sessions(id);
    },
    revokeSession: async () => {
      const { users } = await admin.users({ q: "Linus", after: null, limit: 1 });
      const id = users[0]?.id ?? "";
      const { sessions } = await admin.sessions(id);
      await admin.revokeSession(id, sessions[0]?.id ?? "");
    },
    revokeSessions: () => admin.revokeSessions(user),
    deleteUser: () => admin.deleteUser(user),
    changeGroup: async () => {
      const limits = { answers_at_once: null, messages_per_day: 9, output_tokens_max: null };
      await admin.changeGroup(group, { name: "Divers", models: ["qwen3-0.6b"], limits });
    },
    deleteGroup: () => admin.deleteGroup(group),
    audit: () => admin.audit({ user: null, before: null, limit: 20 }),
    status: () => admin.status(),
    rotateKey: () => admin.rotateKey(),
  });
});
