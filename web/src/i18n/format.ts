/** Numbers and times as people read them, in the page's language. */

const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"] as const;

export function bytesText(bytes: number, language: string): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return new Intl.NumberFormat(language, {
    style: "unit",
    unit: UNITS[unit] ?? "byte",
    unitDisplay: "short",
    maximumFractionDigits: value < 10 && unit > 0 ? 1 : 0,
  }).format(value);
}

/** 134500000 as 135M, in the notation of model names, which is the same everywhere. */
export function countText(count: number): string {
  return new Intl.NumberFormat("en", {
    notation: "compact",
    maximumSignificantDigits: count < 1e9 ? 3 : 2,
  }).format(count);
}

/** 131072 as 128K: contexts are counted in powers of two where they are ones. */
export function contextText(tokens: number): string {
  return tokens >= 1024 && tokens % 1024 === 0 ? `${tokens / 1024}K` : countText(tokens);
}

export function secondsText(duration_ms: number, language: string): string {
  return new Intl.NumberFormat(language, {
    style: "unit",
    unit: "second",
    unitDisplay: "short",
    maximumFractionDigits: duration_ms < 10_000 ? 1 : 0,
  }).format(duration_ms / 1000);
}

/**
 * A count as messages take it in: as people read it, and what chooses the message's form. Our languages have no other form above
 * two, but for French from a million on, which would be one more of each message.
 */
export const counted = (count: number, language: string): { count: number; number: string } => ({
  count: Math.min(count, 2),
  number: new Intl.NumberFormat(language).format(count),
});

export const listText = (items: readonly string[], language: string): string =>
  new Intl.ListFormat(language, { type: "conjunction" }).format(items);

export function monthText(year: number, month: number, language: string): string {
  const date = new Date(year, month, 1);
  return new Intl.DateTimeFormat(language, { month: "long", year: "numeric" }).format(date);
}

const AGO = [
  ["day", 86_400_000],
  ["hour", 3_600_000],
  ["minute", 60_000],
] as const;

/** "5 minutes ago", and a date for what is further back than a month. */
export function agoText(at_ms: number, now_ms: number, language: string): string {
  const passed_ms = Math.max(0, now_ms - at_ms);
  if (passed_ms > 30 * AGO[0][1])
    return new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(at_ms);
  const [unit, length_ms] = AGO.find(([, length_ms]) => passed_ms >= length_ms) ?? AGO[2];
  const text = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  return text.format(-Math.floor(passed_ms / length_ms), unit);
}

const WAITS = [
  ["second", 1],
  ["minute", 60],
  ["hour", 3600],
] as const;

/** A wait as one would say it: in seconds up to two minutes, in minutes up to two hours, in hours beyond. */
export function waitText(wait_s: number, language: string): string {
  const [unit, length_s] = WAITS.find(([, length_s]) => wait_s <= 120 * length_s) ?? WAITS[2];
  const format = new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "long" });
  return format.format(Math.ceil(wait_s / length_s));
}
