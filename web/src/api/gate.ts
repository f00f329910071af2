import { call } from "./client";

/** The registration gate: how far the door to new accounts stands open, and the waiting list in front of it. */

/** The widest first. */
export const levels = [
  "open",
  "challenge",
  "email_first",
  "waiting_list",
  "invite_only",
  "suspended",
] as const;

export type Level = (typeof levels)[number];

/** Why the gate moved. What is measured depends on the reason; where nothing is, an operator decided. */
export interface Reason {
  reason: string;
  measured?: number;
  threshold?: number;
}

export interface Move {
  at_ms: number;
  from: Level;
  to: Level;
  reasons: readonly Reason[];
}

export interface Registration {
  level: Level;
  /** An operator holds it there. */
  pinned: boolean;
  since_ms: number;
  /** Null where nobody can say. */
  reopens_in_seconds: number | null;
  /** The settings take new accounts at all. */
  offered: boolean;
  /** People in the waiting list. */
  waiting: number;
  accounts_per_minute: number;
  /** Those of the last move. */
  reasons: readonly Reason[];
}

export interface GateStatus {
  registration: Registration;
  incident: { since_ms: number } | null;
  /** The newest first. */
  moves: readonly Move[];
}

/** The registration gate as operators see it. */
export interface Gate extends GateStatus {
  pin: Level | null;
  /** What it was told at its last tick, by name, and when (`at_ms`). */
  signals: Readonly<Record<string, number | null>>;
  /** In the last minute. */
  accounts_made: number;
}

/** A place in the waiting list. */
export interface Waiting {
  /** What the place is asked after with. */
  place: string;
  /** People before it. */
  ahead: number;
  /** It is their turn: they may sign up with this place now. */
  called_up: boolean;
  /** Null where nobody can say, as nobody is called up. */
  about_seconds: number | null;
  ask_again_seconds: number;
  /** For how long a place that was called up is kept. */
  until_seconds?: number | null;
}

/** ALTCHA's second protocol: a counter is to be found whose derived key begins with `keyPrefix`. */
export interface Challenge {
  parameters: {
    algorithm: string;
    cost: number;
    keyLength: number;
    /** Hexadecimal digits, as the nonce and the salt are. */
    keyPrefix: string;
    nonce: string;
    salt: string;
  };
  signature: string;
}

export const gate = {
  /** The same address is a page for whoever looks at it with a browser. */
  status: (signal?: AbortSignal) =>
    call<GateStatus>("GET", "/status", undefined, {
      headers: { accept: "application/json" },
      ...(signal === undefined ? {} : { signal }),
    }),

  place: (place: string, signal: AbortSignal) =>
    call<{ waiting: Waiting }>("POST", "/api/places", { place }, { signal }),

  leavePlace: (place: string) => call<void>("DELETE", "/api/places", { place }),
};

/** The gate for operators and, where it lets somebody in, administrators. */
export const keeper = {
  stand: () => call<Gate>("GET", "/api/admin/gate"),

  /** Holds a level, or with null lets the gate run. */
  pin: (level: Level | null, reason: string) =>
    call<Gate>("PUT", "/api/admin/gate", { level, ...(reason === "" ? {} : { reason }) }),

  invite: (count: number, days: number) =>
    call<{ invitations: string[] }>("POST", "/api/admin/invitations", { count, days }),
};
