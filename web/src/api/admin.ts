import { call, userPath } from "./client";
import type { Schemas } from "./types";

/** The server's `/api/admin`, for operators and administrators. */

export type Role = Schemas["Role"];

/** A user as an operator sees them. */
export type Account = Schemas["Account"];
/** A place where a user is signed in. */
export type AccountDevice = Schemas["AdminDevice"];

/** What the members of a group may do; null is no limit. */
export type Limits = Schemas["Limits"];
export type Group = Schemas["Group"];
export type NewGroup = Pick<Group, "name" | "models" | "limits">;

/** The group that everybody is in; it can't be left or deleted. */
export const EVERYONE = "00000000-0000-0000-0000-000000000000";

export type AuditEntry = Schemas["AuditEntry"];
export type Status = Schemas["ServerStatus"];

/** The whole key file is rewritten, with every user's key. */
const ROTATION_MS_MAX = 600_000;

const query = (given: Record<string, string | number | null>): string => {
  const wanted = Object.entries(given).filter(([, value]) => value !== null && value !== "");
  return String(new URLSearchParams(wanted.map(([name, value]) => [name, String(value)])));
};

const groupPath = (id: string): string => `/api/admin/groups/${encodeURIComponent(id)}`;

export const BACKUP_PATH = "/api/admin/backup";

export const admin = {
  users: (given: { q: string; after: string | null; limit: number }, signal?: AbortSignal) =>
    call<Schemas["AccountPage"]>(
      "GET",
      `/api/admin/users?${query(given)}`,
      undefined,
      signal === undefined ? {} : { signal },
    ),

  addUser: (user: Schemas["AdminAddUserAsked"]) =>
    call<Schemas["AddedAccount"]>("POST", "/api/admin/users", user),

  user: (id: string) => call<Account>("GET", userPath(id)),

  changeUser: (id: string, change: Schemas["AdminChangeUserAsked"]) =>
    call<Account>("PATCH", userPath(id), change),

  deleteUser: (id: string) => call<void>("DELETE", userPath(id)),

  /** A new password, which the server makes and tells once. */
  newPassword: (id: string) => call<Schemas["NewPassword"]>("POST", `${userPath(id)}/password`),

  clearFactors: (id: string) => call<Account>("DELETE", `${userPath(id)}/factors`),

  sessions: (id: string) => call<Schemas["AdminDevices"]>("GET", `${userPath(id)}/sessions`),

  revokeSessions: (id: string) => call<void>("DELETE", `${userPath(id)}/sessions`),

  revokeSession: (id: string, session: string) =>
    call<void>("DELETE", `${userPath(id)}/sessions/${encodeURIComponent(session)}`),

  groups: () => call<Schemas["Groups"]>("GET", "/api/admin/groups"),

  addGroup: (group: NewGroup) => call<Group>("POST", "/api/admin/groups", group),

  changeGroup: (id: string, change: NewGroup) => call<Group>("PATCH", groupPath(id), change),

  deleteGroup: (id: string) => call<void>("DELETE", groupPath(id)),

  audit: (given: { user: string | null; before: string | null; limit: number }) =>
    call<Schemas["AuditPage"]>("GET", `/api/admin/audit?${query(given)}`),

  status: () => call<Status>("GET", "/api/admin/status"),

  rotateKey: () =>
    call<Schemas["Rotation"]>("POST", "/api/admin/rotate-key", undefined, { patience_ms: ROTATION_MS_MAX }),
};
