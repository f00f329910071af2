import { create } from "zustand";
import { type GateStatus, gate, type Level, type Reason } from "../api/gate";

/** How far the door to new accounts stands open, as the server said last. */

interface State {
  status: GateStatus | null;
  /** When it said so; Unix milliseconds of the browser's clock. */
  read_ms: number;
  /** The last question was not answered. */
  failed: boolean;
}

export const useGate = create<State>(() => ({ status: null, read_ms: 0, failed: false }));

let asked = 0;

/** Asks the server; of several questions the last one counts. */
export async function askGate(): Promise<void> {
  asked += 1;
  const number = asked;
  try {
    const status = await gate.status();
    if (number === asked) useGate.setState({ status, read_ms: Date.now(), failed: false });
  } catch {
    if (number === asked) useGate.setState({ failed: true });
  }
}

/** What lies behind a move, as one would tell a stranger. */
export type Cause = "pinned" | "attack" | "crowd" | "load" | "calm";

const causes: readonly (readonly [Cause, readonly string[]])[] = [
  ["pinned", ["pinned"]],
  [
    "attack",
    ["failed_challenges", "prefix_concentration", "asn_concentration", "failed_logins", "cost_per_account"],
  ],
  ["crowd", ["above_forecast", "demand"]],
  ["load", ["queue_delay", "refusals"]],
  ["calm", ["calm"]],
];

/** The weightiest cause among the reasons. A crowd is never told that it is an attack, and an attack isn't called a crowd. */
export const causeOf = (reasons: readonly Reason[]): Cause | null =>
  causes.find(([, names]) => reasons.some(({ reason }) => names.includes(reason)))?.[0] ?? null;

/** Whoever asks for an account at this level, and has no invitation, is given a place in line. */
export const isQueued = (level: Level): boolean =>
  level === "waiting_list" || level === "invite_only" || level === "suspended";

/** How long until it opens, `passed_ms` after the server has said it. */
export const opensIn = (reopens_in_seconds: number | null, passed_ms: number): number | null =>
  reopens_in_seconds === null ? null : Math.max(0, reopens_in_seconds - Math.floor(passed_ms / 1000));

type Unit = "count" | "share" | "times" | "ms" | "s";

const units: Readonly<Record<string, Unit>> = {
  above_forecast: "count",
  demand: "times",
  failed_challenges: "share",
  prefix_concentration: "share",
  asn_concentration: "share",
  failed_logins: "share",
  queue_delay: "ms",
  refusals: "share",
  cost_per_account: "times",
  calm: "s",
};

/** In what a reason is measured; null for one without a number, or one that we don't know. */
export const unitOf = (reason: string): Unit | null => units[reason] ?? null;

/** A measured number as people read it; `times` puts a multiple into words. */
export function measuredText(
  value: number,
  unit: Unit,
  language: string,
  times: (number: string) => string,
): string {
  const format = (options: Intl.NumberFormatOptions) =>
    new Intl.NumberFormat(language, { maximumFractionDigits: value < 10 ? 1 : 0, ...options }).format(value);
  switch (unit) {
    case "count":
      return format({ maximumFractionDigits: 0 });
    case "share":
      return format({ style: "percent", maximumFractionDigits: 0 });
    case "times":
      return times(format({}));
    case "ms":
      return format({ style: "unit", unit: "millisecond", maximumFractionDigits: 0 });
    case "s":
      return format({ style: "unit", unit: "second", maximumFractionDigits: 0 });
  }
}
