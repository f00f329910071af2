import type { Account, Limits } from "../api/admin";
import { ApiError } from "../api/client";
import type { User } from "../api/types";

/** What operators and administrators may do, and what the server says about it. The server decides; the page only shows it. */

interface Rights {
  /** Disable them, sign them out, give them a new password, take their second factors. */
  tend: boolean;
  /** Their name, address, role and groups. */
  change: boolean;
  remove: boolean;
}

/** What `me` may do with an account. One's own is tended on one's own page, where the password is asked for. */
export function rightsOver(me: User, account: Pick<Account, "id" | "role">): Rights {
  const self = me.id === account.id;
  const administers = me.role === "admin";
  return {
    tend: !self && (administers || (me.role === "operator" && account.role === "user")),
    change: administers,
    remove: administers && !self,
  };
}

/** What can go wrong; there is a text for each. */
type Trouble = "unreachable" | "busy" | "notAllowed" | "gone" | "lastAdministrator" | "nameTaken" | "other";

export interface Failure {
  trouble: Trouble;
  /** The server's own words, for what we have none for. */
  detail: string;
}

const byCode: Readonly<Record<string, Trouble>> = {
  not_allowed: "notAllowed",
  not_found: "gone",
  conflict: "lastAdministrator",
  name_taken: "nameTaken",
  email_taken: "nameTaken",
};

const byStatus: Readonly<Record<number, Trouble>> = {
  0: "unreachable",
  403: "notAllowed",
  404: "gone",
  429: "busy",
  502: "busy",
  503: "busy",
  504: "busy",
};

export function failureOf(error: unknown): Failure {
  if (!(error instanceof ApiError)) return { trouble: "other", detail: String(error) };
  return {
    trouble: byCode[error.code ?? ""] ?? byStatus[error.status] ?? "other",
    detail: error.message,
  };
}

/** What stands in a limit's field: a whole number, nothing for no limit, or undefined for anything else. */
function limitOf(text: string): number | null | undefined {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  const value = Number(trimmed);
  return /^\d+$/.test(trimmed) && value <= 4_294_967_295 ? value : undefined;
}

export const limitNames = ["answers_at_once", "messages_per_day", "output_tokens_max"] as const;

/** The limits that stand in the fields, or the name of the first that is none. */
export function limitsOf(texts: Readonly<Record<keyof Limits, string>>): Limits | keyof Limits {
  const limits: Limits = { answers_at_once: null, messages_per_day: null, output_tokens_max: null };
  for (const name of limitNames) {
    const limit = limitOf(texts[name]);
    if (limit === undefined) return name;
    limits[name] = limit;
  }
  return limits;
}
