import { call } from "./client";
import type { GateStatus, Level } from "./gate";
import type { Device, User } from "./types";

/** The server's `/api/admin`, for operators and administrators. */

export type Role = User["role"];

/** A user as an operator sees them. */
export interface Account {
  id: string;
  name: string;
  email: string | null;
  email_verified: boolean;
  role: Role;
  created_ms: number;
  disabled_ms: number | null;
  /** The ids of the groups that they are in. */
  groups: string[];
  totp: boolean;
  passkeys: number;
  /** How many accounts at providers they sign in with. */
  links: number;
  /** What they can sign in with; if it is empty, somebody must give them a way. */
  ways_in: readonly ("password" | "passkey" | "provider")[];
  seen_ms: number | null;
}

export interface NewAccount {
  name: string;
  email?: string;
  role: Role;
  groups: string[];
}

export interface AccountChange {
  name?: string;
  email?: string | null;
  role?: Role;
  disabled?: boolean;
  groups?: string[];
}

/** What the members of a group may do; null is no limit. */
export interface Limits {
  answers_at_once: number | null;
  messages_per_day: number | null;
  output_tokens_max: number | null;
}

/** The group that everybody is in; it can't be left or deleted. */
export const EVERYONE = "00000000-0000-0000-0000-000000000000";

export interface Group {
  id: string;
  name: string;
  /** Null for all that there are. */
  models: string[] | null;
  limits: Limits;
  members: number;
}

export type NewGroup = Pick<Group, "name" | "models" | "limits">;

export interface AuditEntry {
  number: number;
  at_ms: number;
  /** Whom it is about. */
  user_id: string | null;
  /** Null where the user is gone, or was nobody. */
  user_name: string | null;
  /** Who did it, where that was somebody else. */
  by_id: string | null;
  by_name: string | null;
  event: string;
  address: string;
  /** What was written about it. */
  note?: string | null;
}

export interface Status {
  version: string;
  started_ms: number;
  users: number;
  sessions: number;
  answers: number;
  connections: number;
  models: { name: string; loaded: boolean }[];
  database_bytes: number;
  sign_up: boolean;
}

/** The registration gate as operators see it. */
export interface Gate extends GateStatus {
  pin: Level | null;
  /** What it was told at its last tick, by name, and when (`at_ms`). */
  signals: Readonly<Record<string, number | null>>;
  /** In the last minute. */
  accounts_made: number;
}

export interface Rotation {
  generation: number;
  rewrapped: number;
  /** Older generations that whoever gives the keys by the environment may take away now. */
  removable: number[];
}

/** The whole key file is rewritten, with every user's key. */
const ROTATION_MS_MAX = 600_000;

const query = (given: Record<string, string | number | null>): string => {
  const wanted = Object.entries(given).filter(([, value]) => value !== null && value !== "");
  return String(new URLSearchParams(wanted.map(([name, value]) => [name, String(value)])));
};

const userPath = (id: string): string => `/api/admin/users/${encodeURIComponent(id)}`;
const groupPath = (id: string): string => `/api/admin/groups/${encodeURIComponent(id)}`;

export const BACKUP_PATH = "/api/admin/backup";

export const admin = {
  users: (given: { q: string; after: string | null; limit: number }, signal?: AbortSignal) =>
    call<{ users: Account[]; next: string | null; total: number }>(
      "GET",
      `/api/admin/users?${query(given)}`,
      undefined,
      signal === undefined ? {} : { signal },
    ),

  addUser: (user: NewAccount) => call<{ user: Account; password?: string }>("POST", "/api/admin/users", user),

  user: (id: string) => call<Account>("GET", userPath(id)),

  changeUser: (id: string, change: AccountChange) => call<Account>("PATCH", userPath(id), change),

  deleteUser: (id: string) => call<void>("DELETE", userPath(id)),

  /** A new password, which the server makes and tells once. */
  newPassword: (id: string) => call<{ password?: string }>("POST", `${userPath(id)}/password`),

  clearFactors: (id: string) => call<Account>("DELETE", `${userPath(id)}/factors`),

  sessions: (id: string) => call<{ sessions: Device[] }>("GET", `${userPath(id)}/sessions`),

  revokeSessions: (id: string) => call<void>("DELETE", `${userPath(id)}/sessions`),

  revokeSession: (id: string, session: string) =>
    call<void>("DELETE", `${userPath(id)}/sessions/${encodeURIComponent(session)}`),

  groups: () => call<{ groups: Group[] }>("GET", "/api/admin/groups"),

  addGroup: (group: NewGroup) => call<Group>("POST", "/api/admin/groups", group),

  changeGroup: (id: string, change: NewGroup) => call<Group>("PATCH", groupPath(id), change),

  deleteGroup: (id: string) => call<void>("DELETE", groupPath(id)),

  audit: (given: { user: string | null; before: string | null; limit: number }) =>
    call<{ entries: AuditEntry[]; next: string | number | null }>("GET", `/api/admin/audit?${query(given)}`),

  status: () => call<Status>("GET", "/api/admin/status"),

  gate: () => call<Gate>("GET", "/api/admin/gate"),

  /** Holds a level, or with null lets the gate run. */
  pinGate: (level: Level | null, reason: string) =>
    call<Gate>("PUT", "/api/admin/gate", { level, ...(reason === "" ? {} : { reason }) }),

  invite: (count: number, days: number) =>
    call<{ invitations: string[] }>("POST", "/api/admin/invitations", { count, days }),

  rotateKey: () =>
    call<Rotation>("POST", "/api/admin/rotate-key", undefined, { patience_ms: ROTATION_MS_MAX }),
};
