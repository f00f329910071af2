import type { Key, KeyChange } from "../api/programs";
import { amountIn, nanosOf } from "./money";

/** What stands in the fields of a key's form. */
export interface KeyFields {
  name: string;
  /** A day, as the browser's field for one has it; empty for never. */
  expires: string;
  all: "all" | "some";
  models: readonly string[];
  spend_max: string;
  requests_at_once: string;
  requests_per_day: string;
  tokens_per_day: string;
  /** Separated by commas or spaces. */
  addresses: string;
}

export type KeyProblem = Exclude<keyof KeyFields, "all" | "models">;

const NAME_LENGTH_MAX = 64;
const REQUESTS_MAX = 100_000_000;
const TOKENS_MAX = 1_000_000_000_000;

const dayOf = (at_ms: number): string => {
  const at = new Date(at_ms);
  const two = (number: number) => String(number).padStart(2, "0");
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
};

export function keyFieldsOf(key: Key | null): KeyFields {
  const text = (limit: number | string | null | undefined): string => String(limit ?? "");
  return {
    name: key?.name ?? "",
    // It is good to the end of that day: the millisecond before is in it.
    expires: key === null || key.expires_ms === null ? "" : dayOf(key.expires_ms - 1),
    all: key !== null && key.models !== null ? "some" : "all",
    models: key?.models ?? [],
    spend_max: text(key?.spend_max),
    requests_at_once: text(key?.requests_at_once),
    requests_per_day: text(key?.requests_per_day),
    tokens_per_day: text(key?.tokens_per_day),
    addresses: (key?.addresses ?? []).join(", "),
  };
}

const limitOf = (text: string, most: number): number | null | undefined => {
  const trimmed = text.trim();
  if (trimmed === "") return null;
  return /^[1-9]\d{0,12}$/.test(trimmed) && Number(trimmed) <= most ? Number(trimmed) : undefined;
};

/** The end of a day, as the browser's clock has it. */
function endOf(day: string): number | undefined {
  const [year, month, date] = day.split("-").map(Number);
  if (year === undefined || month === undefined || date === undefined) return undefined;
  const end_ms = new Date(year, month - 1, date + 1).getTime();
  return Number.isNaN(end_ms) ? undefined : end_ms;
}

/** When the key is to end. A day that was not touched leaves it at its very moment, be it over already. */
function expiryOf(day: string, key: Key | null, now_ms: number): Pick<KeyChange, "expires_ms"> | undefined {
  if (key !== null && day === keyFieldsOf(key).expires) return {};
  if (day === "") return { expires_ms: null };
  const end_ms = endOf(day);
  return end_ms === undefined || end_ms <= now_ms ? undefined : { expires_ms: end_ms };
}

/**
 * What the fields ask for, of a new key or of one that there is; or the first of them that is wrong. What the server alone can
 * judge is left to it.
 */
export function keyChangeOf(
  fields: KeyFields,
  key: Key | null,
  now_ms: number,
  language: string,
): KeyChange | KeyProblem {
  const name = fields.name.trim();
  const { length } = [...name];
  if (length < 1 || length > NAME_LENGTH_MAX) return "name";
  const expiry = expiryOf(fields.expires, key, now_ms);
  if (expiry === undefined) return "expires";
  const spend_max = fields.spend_max.trim() === "" ? null : amountIn(fields.spend_max, language);
  if (fields.spend_max.trim() !== "" && (nanosOf(spend_max ?? "") ?? 0n) <= 0n) return "spend_max";
  const requests_at_once = limitOf(fields.requests_at_once, REQUESTS_MAX);
  if (requests_at_once === undefined) return "requests_at_once";
  const requests_per_day = limitOf(fields.requests_per_day, REQUESTS_MAX);
  if (requests_per_day === undefined) return "requests_per_day";
  const tokens_per_day = limitOf(fields.tokens_per_day, TOKENS_MAX);
  if (tokens_per_day === undefined) return "tokens_per_day";
  const addresses = fields.addresses.split(/[\s,;]+/).filter((address) => address !== "");
  if (addresses.some((address) => !/^[0-9a-fA-F:.]+(?:\/\d{1,3})?$/.test(address))) return "addresses";
  return {
    name,
    ...expiry,
    models: fields.all === "all" ? null : [...fields.models],
    spend_max,
    requests_at_once,
    requests_per_day,
    tokens_per_day,
    addresses,
  };
}

const problems: readonly string[] = [
  "name",
  "expires",
  "spend_max",
  "requests_at_once",
  "requests_per_day",
  "tokens_per_day",
  "addresses",
] satisfies KeyProblem[];

/** The field that the server has found to be wrong, if it is one of the form's. */
export function keyProblemOf(param: string | null): KeyProblem | null {
  const field = param === "expires_ms" ? "expires" : param;
  return field !== null && problems.includes(field) ? (field as KeyProblem) : null;
}
