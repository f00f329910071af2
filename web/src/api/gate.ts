import { call } from "./client";
import type { Schemas } from "./types";

/** The registration gate: how far the door to new accounts stands open, and the waiting list in front of it. */

export type Level = Schemas["GateLevel"];

/** The widest first. */
export const levels = [
  "open",
  "challenge",
  "email_first",
  "waiting_list",
  "invite_only",
  "suspended",
] as const satisfies readonly Level[];

export type Reason = Schemas["GateReason"];
export type Move = Schemas["GateMove"];
export type Registration = Schemas["Registration"];
export type GateStatus = Schemas["ServiceStatus"];
/** The registration gate as operators see it. */
export type Gate = Schemas["AdminGate"];
/** A place in the waiting list. */
export type Waiting = Schemas["Waiting"];
/** ALTCHA's second protocol: a counter is to be found whose derived key begins with `keyPrefix`. */
export type Challenge = Schemas["Challenge"];

export const gate = {
  /** The same address is a page for whoever looks at it with a browser. */
  status: (signal?: AbortSignal) =>
    call<GateStatus>("GET", "/status", undefined, {
      headers: { accept: "application/json" },
      ...(signal === undefined ? {} : { signal }),
    }),

  place: (place: string, signal: AbortSignal) =>
    call<Schemas["Waits"]>("POST", "/api/places", { place }, { signal }),

  leavePlace: (place: string) => call<void>("DELETE", "/api/places", { place }),
};

/** The gate for operators and, where it lets somebody in, administrators. */
export const keeper = {
  stand: () => call<Gate>("GET", "/api/admin/gate"),

  /** Holds a level, or with null lets the gate run. */
  pin: (level: Level | null, reason: string) =>
    call<Gate>("PUT", "/api/admin/gate", { level, ...(reason === "" ? {} : { reason }) }),

  invite: (count: number, days: number) =>
    call<Schemas["AdminInvitations"]>("POST", "/api/admin/invitations", { count, days }),
};
