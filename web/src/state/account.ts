import { ApiError } from "../api/client";

/** What people enter about themselves: what is allowed, and what the server says about it. */

/** The fields of all forms. `old` is the password that one has, where `password` is the one that one chooses. */
export type FieldName = "token" | "login" | "name" | "email" | "old" | "password" | "code";

/** What can be wrong; there is a text for each. */
export type Problem =
  | "tokenMissing"
  | "loginMissing"
  | "passwordMissing"
  | "nameLength"
  | "nameCharacters"
  | "nameInvalid"
  | "nameTaken"
  | "emailMissing"
  | "emailForm"
  | "emailTaken"
  | "passwordLength"
  | "passwordWeak"
  | "passwordBreached"
  | "passwordSame"
  | "codeMissing"
  | "passkeyName"
  | "passkeyCancelled"
  | "passkeyKnown"
  | "passkeyHost"
  | "passkeyUnsupported"
  | "passkeysFull"
  | "wrongToken"
  | "wrongLogin"
  | "wrongPassword"
  | "wrongCode"
  | "wrongPasskey"
  | "ticketExpired"
  | "ticketInvalid"
  | "signInAgain"
  | "lastWayIn"
  | "tooManyAttempts"
  | "busy"
  | "noMail"
  | "lettersFull"
  | "noPlace"
  | "invitationGone"
  | "proofUnsafe"
  | "proofFailed"
  | "lastAdministrator"
  | "unreachable"
  | "other";

export interface Refusal {
  problem: Problem;
  /** Where it is told; null for the whole form. */
  field: FieldName | null;
  /** How long nothing else is to be tried. */
  wait_s: number | null;
  /** The server's own words, for what we have none for. */
  detail: string;
}

/** Something that the page itself found out, without asking the server. */
export class Trouble extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem);
    this.name = "Trouble";
    this.problem = problem;
  }
}

const NAME_LENGTH = { min: 2, max: 64 } as const;
const PASSWORD_LENGTH = { min: 8, max: 256 } as const;

/** As the server counts: characters, not UTF-16 units. */
const within = (text: string, { min, max }: { min: number; max: number }): boolean => {
  const { length } = [...text];
  return length >= min && length <= max;
};

export function nameProblem(name: string): Problem | null {
  if (/[@\p{Cc}]/u.test(name.trim())) return "nameCharacters";
  return within(name.trim(), NAME_LENGTH) ? null : "nameLength";
}

/** Whether an address exists is only known by writing to it; this finds slips. */
export function emailProblem(email: string): Problem | null {
  return email.trim() === "" || /^[^\s@]+@[^\s@]+$/.test(email.trim()) ? null : "emailForm";
}

/** Where a letter is to be sent, there must be an address. */
export function neededEmailProblem(email: string): Problem | null {
  return email.trim() === "" ? "emailMissing" : emailProblem(email);
}

/** A code as one reads it off a telephone or a sheet of paper: blanks are not of it. */
export const codeOf = (text: string): string => text.replace(/\s/gu, "");

export const codeProblem = (text: string): Problem | null => (codeOf(text) === "" ? "codeMissing" : null);

export function newPasswordProblem(password: string): Problem | null {
  return within(password, PASSWORD_LENGTH) ? null : "passwordLength";
}

const byCode: Readonly<Record<string, readonly [Problem, FieldName | null]>> = {
  wrong_setup_token: ["wrongToken", "token"],
  wrong_login: ["wrongLogin", "old"],
  wrong_password: ["wrongPassword", "old"],
  weak_password: ["passwordWeak", "password"],
  breached_password: ["passwordBreached", "password"],
  wrong_code: ["wrongCode", "code"],
  wrong_passkey: ["wrongPasskey", null],
  ticket_expired: ["ticketExpired", null],
  ticket_invalid: ["ticketInvalid", null],
  sign_in_again: ["signInAgain", null],
  passkeys_unavailable: ["passkeyHost", null],
  // Passkeys are all that an account can have too many of.
  full: ["passkeysFull", null],
  too_many_attempts: ["tooManyAttempts", null],
  // The address is asked for only where letters are sent; the page was older than the server's settings.
  no_mail: ["noMail", null],
  too_many_letters: ["lettersFull", null],
  email_required: ["emailMissing", "email"],
  no_place: ["noPlace", null],
  invitation_gone: ["invitationGone", null],
  // A challenge is solved as often as is sensible before anybody is told of it.
  challenge_required: ["proofFailed", null],
  challenge_failed: ["proofFailed", null],
  // The only thing that an account can be in the way of.
  conflict: ["lastAdministrator", null],
};

const byParam: Readonly<Record<string, readonly [Problem, FieldName]>> = {
  token: ["wrongToken", "token"],
  login: ["wrongLogin", "old"],
  name: ["nameInvalid", "name"],
  email: ["emailForm", "email"],
  password: ["passwordLength", "password"],
  new: ["passwordLength", "password"],
  old: ["wrongPassword", "old"],
  code: ["wrongCode", "code"],
};

/** What passes by itself, of which the server may say when. */
const waits: readonly Problem[] = ["tooManyAttempts", "busy", "lettersFull", "noPlace"];

function told(error: ApiError): readonly [Problem, FieldName | null] {
  const { status, code, param } = error;
  if (error.unreachable) return ["unreachable", null];
  if (code === "name_taken" || code === "email_taken") {
    const email = code === "email_taken" || param === "email";
    return email ? ["emailTaken", "email"] : ["nameTaken", "name"];
  }
  // One that could be made and is no good, where otherwise it is one that opens nothing.
  if (code === "wrong_passkey" && status === 422) return ["passkeyUnsupported", null];
  const known = byCode[code ?? ""] ?? (status === 422 ? byParam[param ?? ""] : undefined);
  if (known !== undefined) return known;
  if (status === 429) return ["tooManyAttempts", null];
  if (status === 502 || status === 503 || status === 504) return ["busy", null];
  return ["other", null];
}

/** What a refusal to take away a way in means, where it is not told as something else: it is the last one. */
export function orLastWayIn(error: unknown): unknown {
  return error instanceof ApiError && error.code === "conflict" ? new Trouble("lastWayIn") : error;
}

/** What the server's refusal means to whom it was given. */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Trouble)
    return { problem: error.problem, field: null, wait_s: null, detail: error.message };
  if (!(error instanceof ApiError))
    return { problem: "other", field: null, wait_s: null, detail: String(error) };
  const [problem, field] = told(error);
  const wait_s = waits.includes(problem) ? error.retryAfter_s : null;
  return { problem, field, wait_s, detail: error.message };
}
