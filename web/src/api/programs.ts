import type { OpenApi } from "../state/openapi";
import { call, userPath } from "./client";
import type { Schemas } from "./types";

/** What the server has for those who write programs: keys, balance, usage. Amounts are decimal texts, in units of the currency. */

export type Key = Schemas["Key"];
export type KeyChange = Schemas["AskedKey"];
export type Balance = Schemas["Balance"];
/** What requests of one time took of one model. */
export type UsageSum = Schemas["UsageSum"];
/** What one request took. */
export type UsageRow = Schemas["UsageRow"];
export type Prices = Schemas["Prices"];

/** Whose usage: one's own, or as an operator that of all or of one user. */
export type Whose = { scope: "own"; key: string | null } | { scope: "all"; user: string | null };

export interface Period {
  since_ms: number;
  by: "day" | "hour";
  /** By how much clocks are ahead of UTC: days begin by them. */
  zone_minutes: number;
}

function usagePath(whose: Whose, part: string, more: Record<string, string> = {}): string {
  const query = new URLSearchParams(more);
  if (whose.scope === "own" && whose.key !== null) query.set("key", whose.key);
  if (whose.scope === "all" && whose.user !== null) query.set("user", whose.user);
  return `${whose.scope === "own" ? "/api/usage" : "/api/admin/usage"}${part}?${query}`;
}

export const csvPath = (whose: Whose, { since_ms }: Period): string =>
  usagePath(whose, ".csv", { since: String(since_ms) });

export const programs = {
  keys: () => call<Schemas["Keys"]>("GET", "/api/keys"),

  addKey: (change: KeyChange) => call<Schemas["MadeKey"]>("POST", "/api/keys", change),

  changeKey: (id: string, change: KeyChange) =>
    call<Key>("PATCH", `/api/keys/${encodeURIComponent(id)}`, change),

  revokeKey: (id: string) => call<void>("DELETE", `/api/keys/${encodeURIComponent(id)}`),

  balance: () => call<Balance>("GET", "/api/balance"),

  sums: (whose: Whose, { since_ms, by, zone_minutes }: Period, signal: AbortSignal) =>
    call<Schemas["UsageSums"]>(
      "GET",
      usagePath(whose, "/sums", { since: String(since_ms), by, zone: String(zone_minutes) }),
      undefined,
      { signal },
    ),

  usage: (whose: Whose, before: string | null, limit: number, signal: AbortSignal) =>
    call<Schemas["UsagePage"]>(
      "GET",
      usagePath(whose, "", { limit: String(limit), ...(before === null ? {} : { before }) }),
      undefined,
      { signal },
    ),

  userBalance: (user: string) => call<Balance>("GET", `${userPath(user)}/balance`),

  addCredit: (user: string, credit: Schemas["AdminAddCreditAsked"]) =>
    call<Balance>("POST", `${userPath(user)}/credit`, credit),

  userKeys: (user: string) => call<Schemas["AdminKeys"]>("GET", `${userPath(user)}/keys`),

  revokeUserKey: (user: string, key: string) =>
    call<void>("DELETE", `${userPath(user)}/keys/${encodeURIComponent(key)}`),

  prices: () => call<Prices>("GET", "/api/admin/prices"),
};

/** The server's own description of its API, for whoever asks. */
export const REFERENCE_PATH = "/openapi.json";

export const reference = () => call<OpenApi>("GET", REFERENCE_PATH);
