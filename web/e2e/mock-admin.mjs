// The mock server's admin area: enough of the real one's rules for work on the page.
import { randomBytes, randomUUID } from "node:crypto";
import {
  addSession,
  addUser,
  error,
  folded,
  none,
  refusedUser,
  revoke,
  sessionOf,
  sessions,
  users,
} from "./mock-accounts.mjs";
import { answerGate } from "./mock-gate.mjs";
import { answerAdminPrograms } from "./mock-programs.mjs";
import { seedFactors } from "./mock-security.mjs";

const EVERYONE = "00000000-0000-0000-0000-000000000000";
const DAY = 86_400_000;
const started_ms = Date.now();

const noLimits = () => ({ answers_at_once: null, messages_per_day: null, output_tokens_max: null });
const groups = new Map([[EVERYONE, { id: EVERYONE, name: "everyone", models: null, limits: noLimits() }]]);
const log = [];
const taken = new Map();
let generation = 1;

const nameOf = (id) => users.get(id)?.user.name ?? null;

export function note(event, user_id, { by = null, address = "127.0.0.1", age_ms = 0, text = null } = {}) {
  const told = { number: log.length + 1, at_ms: Date.now() - age_ms, event, address, note: text };
  log.push({ ...told, user_id, user_name: nameOf(user_id), by_id: by, by_name: nameOf(by) });
}

function addGroup(name, models, limits) {
  const id = randomUUID();
  groups.set(id, { id, name, models, limits: { ...noLimits(), ...limits } });
  return id;
}

/** Many users, some groups and a long log. */
export function seedAdmin() {
  const research = addGroup("Research", null, { answers_at_once: 4, messages_per_day: 500 });
  const guests = addGroup("Guests of the house with a rather long name", ["smollm2-135m"], {
    messages_per_day: 20,
    output_tokens_max: 512,
  });
  const names = [
    "Linus",
    "Margaret",
    "Edsger",
    "芭芭拉",
    "Niklaus",
    "Barbara-Ann Featherstonehaugh-Cholmondeley",
  ];
  for (let index = 0; index < 130; index += 1) {
    const name = `${names[index % names.length]} ${index}`;
    const email = index % 3 === 0 ? null : `user.${index}@example.org`;
    const user = addUser(
      { name, email, password: "whales sing deep" },
      index % 40 === 7 ? "operator" : "user",
      {
        groups: [index % 2 === 0 ? research : guests],
        disabled_ms: index % 17 === 5 ? Date.now() - DAY : null,
        totp: index % 5 === 0 ? { secret: randomBytes(20), used: 0 } : null,
      },
    );
    if (index % 7 === 0) seedFactors(users.get(user.id));
    user.email_verified = email !== null;
    user.created_ms -= DAY * (index + 1);
    if (index % 4 !== 3) {
      const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:131.0) Gecko/20100101 Firefox/131.0";
      addSession(user.id, agent, `198.51.100.${index}`, 3_600_000 * index);
    }
  }
  const events = ["login", "login_failed", "password_changed", "session_revoked", "logout", "something_new"];
  const ids = [...users.keys()];
  for (let index = 0; index < 260; index += 1) {
    const event = events[index % events.length];
    const who = event === "login_failed" ? null : ids[index % ids.length];
    const address = `2001:db8::${index.toString(16)}`;
    note(event, who, { address, age_ms: 60_000 * (260 - index) });
  }
}

const groupsOf = (held) => [groups.get(EVERYONE), ...held.groups.map((id) => groups.get(id))].filter(Boolean);

export function allows(user, model) {
  return groupsOf(users.get(user)).some(({ models }) => models === null || models.includes(model));
}

/** Counts a message against what the groups allow; the refusal, or null. */
export function takeMessage(user, model) {
  if (!allows(user, model)) return error(403, "model_not_allowed", "the model is not allowed");
  const limits = groupsOf(users.get(user)).map(({ limits }) => limits.messages_per_day);
  const count = taken.get(user) ?? 0;
  if (!limits.includes(null) && count >= Math.max(...limits))
    return error(429, "messages_per_day", "used up", { headers: { "retry-after": "50000" } });
  taken.set(user, count + 1);
  return null;
}

const membersOf = (id) =>
  id === EVERYONE ? users.size : [...users.values()].filter((held) => held.groups.includes(id)).length;
const viewOfGroup = (group) => ({ ...group, members: membersOf(group.id) });

function viewOf(held) {
  const { groups: own, disabled_ms, totp, passkeys, providers, password, user } = held;
  const seen = [...sessions.values()].filter((session) => session.user === user.id);
  const seen_ms = seen.length === 0 ? null : Math.max(...seen.map((session) => session.seen_ms));
  return {
    ...user,
    disabled_ms,
    groups: [EVERYONE, ...own],
    totp: totp !== null,
    passkeys: passkeys.length,
    links: providers.length,
    ways_in: [
      ...(password === null ? [] : ["password"]),
      ...(passkeys.length === 0 ? [] : ["passkey"]),
      ...(providers.length === 0 ? [] : ["provider"]),
    ],
    seen_ms,
  };
}

const ok = (body) => ({ status: 200, body });
const notFound = () => error(404, "not_found", "there is no such thing");
const notAllowed = () => error(403, "not_allowed", "this is for administrators");
const newPassword = () => randomBytes(12).toString("base64url");

function list(query) {
  const q = folded(query.get("q") ?? "");
  const limit = Number(query.get("limit") ?? 50);
  const from = Number(query.get("after") ?? 0);
  const all = [...users.values()].filter(({ user }) =>
    folded(`${user.name} ${user.email ?? ""}`).includes(q),
  );
  const page = all.slice(from, from + limit).map(viewOf);
  return ok({
    users: page,
    next: from + limit < all.length ? String(from + limit) : null,
    total: all.length,
  });
}

const admins = () => [...users.values()].filter(({ user }) => user.role === "admin");

function change(held, { disabled, groups: chosen, ...fields }, me) {
  const event = ["role", "name", "email"].find((name) => name in fields) ?? "groups";
  if (
    fields.role !== undefined &&
    fields.role !== "admin" &&
    held.user.role === "admin" &&
    admins().length === 1
  )
    return error(409, "conflict", "the last administrator");
  const others = [...users.values()].filter((other) => other !== held);
  if (others.some(({ user }) => user.name === fields.name))
    return error(409, "name_taken", "taken", { param: "name" });
  Object.assign(held.user, fields);
  if (chosen !== undefined) held.groups = chosen.filter((id) => id !== EVERYONE);
  if (disabled !== undefined) held.disabled_ms = disabled ? Date.now() : null;
  if (disabled) revoke((session) => session.user === held.user.id);
  const events = { role: "role_changed", groups: "groups_changed" };
  const disabling = disabled ? "user_disabled" : "user_enabled";
  note(disabled === undefined ? (events[event] ?? "user_renamed") : disabling, held.user.id, { by: me.id });
  return ok(viewOf(held));
}

/** Ends sessions, and counts them. */
function revokedOf(theirs) {
  const count = [...sessions.values()].filter(theirs).length;
  revoke(theirs);
  return count;
}

function ofUser(method, [, , id, what, which], body, me) {
  const held = users.get(id);
  if (held === undefined) return notFound();
  const changes = method !== "GET";
  if (changes && me.role !== "admin" && held.user.role !== "user") return notAllowed();
  const theirs = (session) => session.user === id;
  switch (`${method} ${what ?? ""}`) {
    case "GET ":
      return ok(viewOf(held));
    case "PATCH ":
      return change(held, body, me);
    case "DELETE ":
      if (held.user.role === "admin" && admins().length === 1)
        return error(409, "conflict", "the last administrator");
      note("user_deleted", id, { by: me.id });
      users.delete(id);
      return revoke(theirs);
    case "POST password":
      held.password = body.password ?? newPassword();
      note("password_reset", id, { by: me.id });
      return ok({
        ...(body.password === undefined ? { password: held.password } : {}),
        sessions: revokedOf(theirs),
      });
    case "DELETE factors":
      Object.assign(held, { totp: null, codes: [], passkeys: [] });
      return ok(viewOf(held));
    case "GET sessions":
      return ok({ sessions: [...sessions.values()].filter(theirs).map(({ user: _, ...shown }) => shown) });
    case "DELETE sessions":
      return revoke((session) => theirs(session) && (which === undefined || session.id === which));
    default:
      return notFound();
  }
}

function ofGroup(method, id, body) {
  const group = groups.get(id);
  if (group === undefined) return notFound();
  if (method === "PATCH") Object.assign(group, body);
  if (method === "DELETE") {
    groups.delete(id);
    for (const held of users.values()) held.groups = held.groups.filter((other) => other !== id);
    return none;
  }
  return ok(viewOfGroup(group));
}

function audit(query) {
  const before = Number(query.get("before") ?? Number.MAX_SAFE_INTEGER);
  const limit = Number(query.get("limit") ?? 100);
  const user = query.get("user");
  const all = log
    .toReversed()
    .filter((entry) => entry.number < before && (user === null || entry.user_id === user));
  const entries = all.slice(0, limit);
  return ok({ entries, next: all.length > limit ? entries.at(-1).number : null });
}

const status = () =>
  ok({
    version: "0.0.0-mock",
    started_ms,
    users: users.size,
    sessions: sessions.size,
    answers: 1,
    connections: 12,
    models: [
      { name: "smollm2-135m", loaded: true },
      { name: "qwen3-0.6b", loaded: false },
      { name: "deepseek-r1-distill-qwen-1.5b", loaded: false },
    ],
    database_bytes: 48_318_976,
    sign_up: process.env.SIGN_UP !== "off",
  });

function rotate() {
  generation += 1;
  return ok({ generation, rewrapped: users.size + 1, removable: [] });
}

const forAdmins = {
  "POST admin/users": (body) => {
    const password = body.password ?? newPassword();
    const refused = refusedUser({ ...body, password });
    if (refused !== null) return refused;
    const user = addUser({ ...body, password }, body.role, { groups: body.groups ?? [] });
    return { status: 201, body: { user: viewOf(users.get(user.id)), password } };
  },
  "POST admin/groups": ({ name, models, limits }) => {
    const id = addGroup(name, models, limits);
    return { status: 201, body: viewOfGroup(groups.get(id)) };
  },
  "GET admin/backup": () => ({
    ...ok({}),
    raw: "SQLite format 3\0",
    headers: {
      "content-type": "application/vnd.sqlite3",
      "content-disposition": 'attachment; filename="cachalot-2026-01-31.db"',
    },
  }),
  "POST admin/rotate-key": rotate,
};

/** The answer to a request of the admin area; undefined for what isn't one. */
export function answerAdmin(name, parts, query, body, request) {
  if (parts[0] !== "admin") return undefined;
  const me = users.get(sessionOf(request)?.user)?.user;
  if (me === undefined || me.role === "user") return notAllowed();
  if (name === "GET admin/users") return list(query);
  if (name === "GET admin/audit") return audit(query);
  if (name === "GET admin/status") return status();
  if (name === "GET admin/groups") return ok({ groups: [...groups.values()].map(viewOfGroup) });
  const gate = answerGate(name, body, me, note);
  if (gate !== undefined) return gate;
  const method = request.method ?? "GET";
  const programs = answerAdminPrograms(method, parts, query, body, me);
  if (programs !== undefined) {
    const given = String(body.amount).startsWith("-") ? "credit_taken" : "credit_given";
    if (programs.status < 300 && method !== "GET")
      note(method === "DELETE" ? "key_revoked" : given, parts[2], { by: me.id });
    return programs;
  }
  if (parts[1] === "users" && parts[2] !== undefined) return ofUser(method, parts, body, me);
  if (me.role !== "admin") return notAllowed();
  if (forAdmins[name] !== undefined) return forAdmins[name](body);
  return parts[1] === "groups" ? ofGroup(method, parts[2], body) : notFound();
}
