import type { OpenApi } from "../state/openapi";
import { call } from "./client";

/** What the server has for those who write programs: keys, balance, usage. Amounts are decimal texts, in units of the currency. */

export interface Key {
  id: string;
  name: string;
  /** Its first characters. */
  start: string;
  created_ms: number;
  expires_ms: number | null;
  used_ms: number | null;
  spent: string;
  /** Null for all that there are. */
  models: string[] | null;
  spend_max: string | null;
  /** From where it may be used; from anywhere if there are none. */
  addresses: string[];
  requests_at_once: number | null;
  requests_per_day: number | null;
  tokens_per_day: number | null;
}

export type KeyChange = Partial<Omit<Key, "id" | "start" | "created_ms" | "used_ms" | "spent">>;

interface Credit {
  id: string;
  at_ms: number;
  kind: "grant" | "top_up";
  amount: string;
  note: string;
}

export interface Balance {
  currency: string;
  granted: string;
  topped_up: string;
  /** For requests that go on. */
  held: string;
  available: string;
  /** Nothing costs anything here. */
  free: boolean;
  credits: Credit[];
}

/** What requests of one time took of one model. */
export interface UsageSum {
  from_ms: number;
  model: string;
  requests: number;
  hit_tokens: number;
  miss_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
  cost: string;
}

export interface UsageSums {
  sums: UsageSum[];
  since_ms: number;
  until_ms: number;
  currency: string;
}

/** What one request took. */
export interface UsageRow {
  id: string;
  at_ms: number;
  user_id: string | null;
  key_id: string | null;
  endpoint: string;
  model: string;
  class: string;
  hit_tokens: number;
  miss_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
  cost: string;
  queued_ms: number;
  ttft_ms: number | null;
  total_ms: number;
  outcome: string;
}

interface UsagePage {
  rows: UsageRow[];
  next: string | null;
  currency: string;
}

interface Price {
  model: string | null;
  class: string | null;
  hours: string | null;
  hit: string;
  miss: string;
  output: string;
}

export interface Prices {
  currency: string;
  sign_up_credit: string;
  prices: Price[];
}

/** Whose usage: one's own, or as an operator that of all or of one user. */
export type Whose = { scope: "own"; key: string | null } | { scope: "all"; user: string | null };

export interface Period {
  since_ms: number;
  by: "day" | "hour";
  /** By how much clocks are ahead of UTC: days begin by them. */
  zone_minutes: number;
}

const userPath = (id: string): string => `/api/admin/users/${encodeURIComponent(id)}`;

function usagePath(whose: Whose, part: string, more: Record<string, string> = {}): string {
  const query = new URLSearchParams(more);
  if (whose.scope === "own" && whose.key !== null) query.set("key", whose.key);
  if (whose.scope === "all" && whose.user !== null) query.set("user", whose.user);
  return `${whose.scope === "own" ? "/api/usage" : "/api/admin/usage"}${part}?${query}`;
}

export const csvPath = (whose: Whose, { since_ms }: Period): string =>
  usagePath(whose, ".csv", { since: String(since_ms) });

export const programs = {
  keys: () => call<{ keys: Key[]; keys_max: number }>("GET", "/api/keys"),

  addKey: (change: KeyChange) => call<{ key: Key; secret: string }>("POST", "/api/keys", change),

  changeKey: (id: string, change: KeyChange) =>
    call<Key>("PATCH", `/api/keys/${encodeURIComponent(id)}`, change),

  revokeKey: (id: string) => call<void>("DELETE", `/api/keys/${encodeURIComponent(id)}`),

  balance: () => call<Balance>("GET", "/api/balance"),

  sums: (whose: Whose, { since_ms, by, zone_minutes }: Period, signal: AbortSignal) =>
    call<UsageSums>(
      "GET",
      usagePath(whose, "/sums", { since: String(since_ms), by, zone: String(zone_minutes) }),
      undefined,
      { signal },
    ),

  usage: (whose: Whose, before: string | null, limit: number, signal: AbortSignal) =>
    call<UsagePage>(
      "GET",
      usagePath(whose, "", { limit: String(limit), ...(before === null ? {} : { before }) }),
      undefined,
      { signal },
    ),

  userBalance: (user: string) => call<Balance>("GET", `${userPath(user)}/balance`),

  addCredit: (user: string, credit: { kind: Credit["kind"]; amount: string; note: string }) =>
    call<Balance>("POST", `${userPath(user)}/credit`, credit),

  userKeys: (user: string) => call<{ keys: Key[] }>("GET", `${userPath(user)}/keys`),

  revokeUserKey: (user: string, key: string) =>
    call<void>("DELETE", `${userPath(user)}/keys/${encodeURIComponent(key)}`),

  prices: () => call<Prices>("GET", "/api/admin/prices"),
};

/** The server's own description of its API, for whoever asks. */
export const REFERENCE_PATH = "/openapi.json";

export const reference = () => call<OpenApi>("GET", REFERENCE_PATH);
