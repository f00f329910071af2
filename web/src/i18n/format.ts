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

export function monthText(year: number, month: number, language: string): string {
  const date = new Date(year, month, 1);
  return new Intl.DateTimeFormat(language, { month: "long", year: "numeric" }).format(date);
}
