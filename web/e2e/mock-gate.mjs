// The mock server's registration gate: real proofs of work, a waiting list that moves by itself, and levels that an operator sets.
// LEVEL=waiting_list begins there, REASON=demand says why, STEP_MS=… is how long one in line takes, NO_PLACE=1 has no room.
import { pbkdf2Sync, randomBytes, randomUUID } from "node:crypto";
import { error, none } from "./mock-accounts.mjs";

const levels = ["open", "challenge", "email_first", "waiting_list", "invite_only", "suspended"];
const step_ms = Number(process.env.STEP_MS ?? 2500);
const CALLED_UP_MS = 90_000;
const AHEAD = 4;
const BUDGET = 60;

const minutesAgo = (minutes) => Date.now() - minutes * 60_000;
const reason = (name, measured, threshold) => ({ reason: name, measured, threshold });

/** An incident that rose and fell an hour ago. */
const moves = [
  {
    at_ms: minutesAgo(52),
    from: "challenge",
    to: "open",
    reasons: [reason("calm", 61, 60)],
  },
  {
    at_ms: minutesAgo(55),
    from: "waiting_list",
    to: "challenge",
    reasons: [reason("calm", 30.2, 30)],
  },
  {
    at_ms: minutesAgo(61),
    from: "challenge",
    to: "waiting_list",
    reasons: [
      reason("prefix_concentration", 0.84, 0.5),
      reason("failed_challenges", 0.61, 0.3),
      reason("demand", 14.6, 1),
    ],
  },
  { at_ms: minutesAgo(62), from: "open", to: "challenge", reasons: [reason("above_forecast", 214, 40)] },
];
let level = "open";
let pin = null;
let since_ms = minutesAgo(52);
const made = [];
const places = new Map();
const challenges = new Set();
const invitations = new Set();

const numbers = {
  demand: [3.2, 1],
  prefix_concentration: [0.84, 0.5],
  above_forecast: [214, 40],
  queue_delay: [1840, 500],
};

function move(to, reasons) {
  if (to === level) return;
  since_ms = Date.now();
  moves.unshift({ at_ms: since_ms, from: level, to, reasons });
  level = to;
}

if (levels.includes(process.env.LEVEL)) {
  const why = process.env.REASON ?? "demand";
  move(process.env.LEVEL, [reason(why, ...(numbers[why] ?? [1, 1]))]);
}

export const gateStatus = () => ({
  registration: {
    level,
    pinned: pin !== null,
    since_ms,
    reopens_in_seconds: pin !== null ? null : level === "open" ? 0 : 75,
    offered: process.env.SIGN_UP !== "off",
    waiting: places.size,
    accounts_per_minute: BUDGET,
    reasons: moves[0].to === level ? moves[0].reasons : [],
  },
  incident: level === "open" ? null : { since_ms: since_ms - 20_000 },
  moves,
});

function challenge() {
  const parameters = {
    algorithm: "PBKDF2/SHA-256",
    cost: 1000,
    data: { action: "sign_up", scope: randomBytes(16).toString("hex") },
    expiresAt: Math.floor(Date.now() / 1000) + 300,
    keyLength: 32,
    keyPrefix: "0".repeat(Number(process.env.DIGITS ?? (levels.indexOf(level) >= 3 ? 3 : 2))),
    nonce: randomBytes(16).toString("hex"),
    salt: randomBytes(16).toString("hex"),
  };
  const signature = randomBytes(32).toString("hex");
  challenges.add(signature);
  return { parameters, signature };
}

/** Whether a solution is right, and its challenge one of ours that was not used. */
function isSolved(text) {
  const { challenge: given, solution } = JSON.parse(Buffer.from(text, "base64").toString());
  if (!challenges.delete(given.signature)) return false;
  const { nonce, salt, cost, keyPrefix, keyLength } = given.parameters;
  const counter = Buffer.alloc(4);
  counter.writeUInt32BE(solution.counter);
  const password = Buffer.concat([Buffer.from(nonce, "hex"), counter]);
  const key = pbkdf2Sync(password, Buffer.from(salt, "hex"), cost, keyLength, "sha256");
  return key.toString("hex").startsWith(keyPrefix);
}

function challenged(failed) {
  const told = error(428, failed ? "challenge_failed" : "challenge_required", "solve the challenge first");
  return { ...told, body: { ...told.body, challenge: challenge() } };
}

const isHalted = () => level === "invite_only" || level === "suspended";

/** How a place stands; undefined for one that is gone. */
function waitingOf(place) {
  const held = places.get(place);
  if (held === undefined) return undefined;
  const passed = isHalted() ? 0 : Math.floor((Date.now() - held.since_ms) / step_ms);
  const ahead = Math.max(0, held.ahead - passed);
  const called_up = !isHalted() && passed >= held.ahead;
  const until_ms = held.since_ms + held.ahead * step_ms + CALLED_UP_MS - Date.now();
  if (called_up && until_ms <= 0) {
    places.delete(place);
    return undefined;
  }
  return {
    place,
    ahead,
    called_up,
    about_seconds: isHalted() ? 3600 : Math.ceil((ahead * step_ms) / 1000),
    ask_again_seconds: 2,
    ...(called_up ? { until_seconds: Math.ceil(until_ms / 1000) } : {}),
  };
}

/** What has to come before an account is made; null where nothing has. */
export function beforeAccount({ challenge: solution, place, invitation }) {
  if (invitation !== undefined) {
    if (invitations.delete(invitation)) return null;
    if (isHalted()) return error(410, "invitation_gone", "the invitation is gone", { param: "invitation" });
  }
  if (level === "open") return null;
  const known = place === undefined ? undefined : waitingOf(place);
  if (known?.called_up) {
    places.delete(place);
    return null;
  }
  if (known !== undefined) return { status: 202, body: { waiting: known } };
  if (solution === undefined) return challenged(false);
  if (!isSolved(solution)) return challenged(true);
  if (process.env.NO_PLACE === "1")
    return error(503, "no_place", "there is no place to wait in", { headers: { "retry-after": "5" } });
  if (level === "challenge" || level === "email_first") return null;
  const ticket = randomUUID();
  places.set(ticket, { since_ms: Date.now(), ahead: AHEAD });
  return { status: 202, body: { waiting: waitingOf(ticket) } };
}

export const noteAccount = () => made.push(Date.now());

/** The answers to requests about the gate that anybody may make. */
export const openGate = {
  "POST challenges": () => ({ status: 200, body: { challenge: challenge() } }),
  "POST places": ({ place }) => {
    const waiting = waitingOf(place);
    return waiting === undefined
      ? error(410, "place_gone", "this place is gone")
      : { status: 200, body: { waiting } };
  },
  "DELETE places": ({ place }) => {
    places.delete(place);
    return none;
  },
};

const view = () => ({
  ...gateStatus(),
  pin,
  accounts_made: made.filter((at_ms) => at_ms > minutesAgo(1)).length,
  signals: {
    at_ms: Date.now(),
    attempted: 41,
    completed: 1,
    challenges_passed: 22,
    challenges_failed: 9,
    prefix_concentration: 0.64,
    asn_concentration: null,
    logins_passed: 12,
    logins_failed: 3,
    queue_delay_ms: 35,
    established_answered: 148,
    established_refused: 0,
    cost_per_account: 0,
    demand: 3.2,
    forecast_per_minute: 7.4,
  },
});

/** The gate as operators have it; undefined for what isn't about it. `note` writes into the audit log. */
export function answerGate(name, body, me, note) {
  if (name === "GET admin/gate") return { status: 200, body: view() };
  if (name === "PUT admin/gate") {
    if (body.level !== null && !levels.includes(body.level))
      return error(422, "invalid_parameter", "no such level", { param: "level" });
    pin = body.level;
    if (pin !== null) move(pin, [{ reason: "pinned" }]);
    const text = pin === null ? (body.reason ?? null) : [pin, body.reason].filter(Boolean).join(": ");
    note(pin === null ? "gate_unpinned" : "gate_pinned", null, { by: me.id, text });
    return { status: 200, body: view() };
  }
  if (name !== "POST admin/invitations") return undefined;
  if (me.role !== "admin") return error(403, "not_allowed", "this is for administrators");
  const tickets = Array.from({ length: body.count }, () => randomBytes(60).toString("base64url"));
  for (const ticket of tickets) invitations.add(ticket);
  note("invitations_made", null, { by: me.id });
  return { status: 201, body: { invitations: tickets } };
}
