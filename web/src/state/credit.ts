import { amountIn, nanosOf } from "./money";

/** What can be done to a balance: to give, or to take back of what was given. */
export const creditWays = ["grant", "top_up", "take_grant", "take_top_up"] as const;

type CreditWay = (typeof creditWays)[number];

export interface CreditFields {
  way: CreditWay;
  amount: string;
  note: string;
}

export type CreditProblem = "amount" | "note";

const NOTE_LENGTH_MAX = 200;
/** In units of the currency. */
const AMOUNT_MAX = "1000000000";

interface NewCredit {
  kind: "grant" | "top_up";
  amount: string;
  note: string;
}

/** What the fields ask for, or the first of them that is wrong. */
export function creditOf({ way, amount, note }: CreditFields, language: string): NewCredit | CreditProblem {
  const given = amountIn(amount, language);
  const nanos = given === null ? null : nanosOf(given);
  if (given === null || nanos === null || nanos <= 0n || nanos > (nanosOf(AMOUNT_MAX) ?? 0n)) return "amount";
  if ([...note.trim()].length > NOTE_LENGTH_MAX) return "note";
  const kind = way === "grant" || way === "take_grant" ? "grant" : "top_up";
  return { kind, amount: way === kind ? given : `-${given}`, note: note.trim() };
}
