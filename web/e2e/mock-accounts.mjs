// The mock server's accounts: in memory, with passwords as they are, for work on the page only.
import { randomUUID } from "node:crypto";
import { beforeAccount, noteAccount, openGate } from "./mock-gate.mjs";
import { abilities, noFactors, securityRoutes, seedFactors } from "./mock-security.mjs";

const DAY = 86_400_000;
const ATTEMPTS_MAX = 5;
const WAIT_S = 20;
const COOKIE = "cachalot_mock";

export const users = new Map();
export const sessions = new Map();
let attempts = 0;
let attemptsUntil = 0;

/** The token of the setup link, until it is used. */
export const setupToken = randomUUID();

export const error = (status, code, message, more = {}) => ({
  status,
  body: { error: { message, type: "invalid_request_error", param: more.param ?? null, code } },
  headers: more.headers ?? {},
});

export const none = { status: 204, body: null };

export function addUser({ name, email = null, email_verified = false, password }, role, more = {}) {
  const user = { id: randomUUID(), name, email, email_verified, role, created_ms: Date.now() };
  users.set(user.id, { user, password, groups: [], disabled_ms: null, ...noFactors(), ...more });
  return user;
}

export function addSession(user, agent, address, age_ms = 0) {
  const at = Date.now() - age_ms;
  const session = { id: randomUUID(), user, created_ms: at, seen_ms: at, agent, address };
  sessions.set(session.id, session);
  return session;
}

/** A first user with a few devices, so that one need not go through the setup. */
export function seedAccounts() {
  const { id } = addUser({ name: "ada", email: "ada@example.org", password: "whales sing deep" }, "admin");
  seedFactors(users.get(id));
  addUser({ name: "grace", password: "whales sing deep" }, "user");
  addUser({ name: "otis", password: "whales sing deep" }, "operator");
  const agents = [
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:131.0) Gecko/20100101 Firefox/131.0",
    "something/1.0",
  ];
  for (const [index, agent] of agents.entries())
    addSession(id, agent, `192.0.2.${index + 1}`, DAY * 13 * index + 7_200_000);
  return id;
}

export function sessionOf(request) {
  const id = new RegExp(`${COOKIE}=([^;]+)`).exec(request.headers.cookie ?? "")?.[1];
  const session = sessions.get(id);
  if (session !== undefined) session.seen_ms = Date.now();
  return session;
}

const bodyOf = (session) => ({
  user: session === undefined ? null : users.get(session.user).user,
  setup: users.size === 0,
  sign_up: process.env.SIGN_UP !== "off",
  ...abilities(),
});

function enter(status, user, request) {
  const session = addSession(user.id, request.headers["user-agent"] ?? "", "127.0.0.1");
  const cookie = `${COOKIE}=${session.id}; HttpOnly; SameSite=Lax; Path=/`;
  return { status, body: bodyOf(session), headers: { "set-cookie": cookie } };
}

export const folded = (text) => text.normalize("NFKC").toLowerCase();
const named = (text) =>
  [...users.values()].find(({ user }) => [user.name, user.email ?? ""].map(folded).includes(folded(text)));

export function refusedUser({ name, email, password }, { unknownEmail = true } = {}) {
  if ([...name].length < 2) return error(422, "invalid_parameter", "name is too short", { param: "name" });
  if (named(name) !== undefined) return error(409, "name_taken", "the name is taken", { param: "name" });
  if (unknownEmail && email !== undefined && named(email) !== undefined)
    return error(409, "name_taken", "the email address is taken", { param: "email" });
  if (password === "password") return error(422, "breached_password", "too common", { param: "password" });
  return null;
}

/** After a few wrong ones one has to wait, as with the real server. */
function login({ login: name, password }, request) {
  if (Date.now() < attemptsUntil) {
    const wait_s = Math.ceil((attemptsUntil - Date.now()) / 1000);
    return error(429, "too_many_attempts", "wait", { headers: { "retry-after": String(wait_s) } });
  }
  const held = named(name);
  if (held?.password === password && held.disabled_ms === null) {
    attempts = 0;
    return security.afterPassword(held, request);
  }
  attempts += 1;
  if (attempts >= ATTEMPTS_MAX) {
    attempts = 0;
    attemptsUntil = Date.now() + WAIT_S * 1000;
  }
  return error(401, "wrong_login", "the name or the password is wrong");
}

const open = {
  "GET session": (_body, request) => ({ status: 200, body: bodyOf(sessionOf(request)) }),
  "POST setup": (body, request) => {
    if (users.size > 0) return error(409, "already_set_up", "there is a user already");
    if (body.token !== setupToken) return error(403, "wrong_setup_token", "wrong token");
    return refusedUser(body) ?? enter(201, addUser(body, "admin"), request);
  },
  "POST sign-up": (body, request) => {
    if (process.env.SIGN_UP === "off") return error(403, "sign_up_closed", "closed");
    const { mail } = abilities();
    if (mail && body.email === undefined)
      return error(422, "invalid_parameter", "an address is needed", { param: "email" });
    if (!mail && body.email !== undefined) return error(422, "no_mail", "no letters", { param: "email" });
    const refused = refusedUser(body, { unknownEmail: !mail });
    const first = refused ?? beforeAccount(body);
    if (first !== null) return first;
    // Whether an address is known is told to nobody.
    if (mail) return security.mailed(body);
    noteAccount();
    return enter(201, addUser(body, "user"), request);
  },
  "POST login": login,
  ...openGate,
};

export function revoke(gone) {
  for (const session of [...sessions.values()]) if (gone(session)) sessions.delete(session.id);
  return none;
}

const security = securityRoutes({ users, error, enter, bodyOf, refusedUser, addUser, named, revoke });

function deleteUser(held, password) {
  if (held.password !== null && held.password !== password)
    return error(401, "wrong_password", "wrong password");
  const admins = [...users.values()].filter(({ user }) => user.role === "admin");
  if (held.user.role === "admin" && admins.length === 1)
    return error(409, "conflict", "the last administrator can't be deleted");
  users.delete(held.user.id);
  return revoke((session) => session.user === held.user.id);
}

const own = {
  "POST logout": (_body, session) => revoke((known) => known === session),
  "GET sessions": (_body, session) => ({
    status: 200,
    body: {
      sessions: [...sessions.values()]
        .filter(({ user }) => user === session.user)
        .map(({ user: _, ...shown }) => ({ ...shown, current: shown.id === session.id })),
    },
  }),
  "DELETE sessions": (_body, session) => revoke((known) => known.user === session.user && known !== session),
  "POST account/password": ({ old, new: chosen }, session) => {
    const held = users.get(session.user);
    if (held.password !== null && held.password !== old)
      return error(401, "wrong_password", "wrong password");
    if (chosen === "password") return error(422, "breached_password", "too common", { param: "new" });
    held.password = chosen;
    return revoke((known) => known.user === session.user && known !== session);
  },
  "POST account/delete": ({ password }, session) => deleteUser(users.get(session.user), password),
};

/**
 * A provider that lets everybody in as grace, who has no password from then on; linking is done at once, and `OIDC_ERROR` has the
 * way back tell of one.
 */
export function answerProvider(url, request) {
  const to = (path, headers = {}) => ({ status: 303, body: null, headers: { location: path, ...headers } });
  if (process.env.OIDC_ERROR !== undefined) return to(`/login?error=${process.env.OIDC_ERROR}`);
  const [provider] = abilities().providers;
  const linked = { id: randomUUID(), name: provider.name, created_ms: Date.now() };
  const session = sessionOf(request);
  if (url.searchParams.has("link") && session !== undefined) {
    users.get(session.user).providers = [linked];
    return to("/account");
  }
  const held = named("grace");
  Object.assign(held, { password: null, providers: [linked] });
  return to(url.searchParams.get("next") ?? "/", enter(303, held.user, request).headers);
}

/** The answer to a request about accounts; undefined for what isn't about them and may go on. */
export function answerAccount(method, parts, body, request) {
  const name = `${method} ${parts.join("/")}`;
  const session = sessionOf(request);
  const anyone = open[name] ?? security.open[name];
  if (anyone !== undefined) return anyone(body, request, session);
  if (session === undefined) return error(401, "not_signed_in", "sign in first");
  const mine = own[name] ?? security.own[name];
  if (mine !== undefined) return mine(body, session);
  if (parts[0] === "account") return security.ofOne(method, parts, body, session);
  if (parts[0] !== "sessions") return undefined;
  const known = sessions.get(parts[1]);
  if (known?.user !== session.user) return error(404, "not_found", "there is no such session");
  return revoke((other) => other === known);
}
