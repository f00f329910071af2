export const RETENTION_DAYS_MAX = 3650;

const DAY_MS = 86_400_000;

/** What stands in the field for days, or null for what can't be a number of them. */
export function daysOf(text: string): number | null {
  const days = Number(text.trim());
  return /^\s*\d+\s*$/.test(text) && days >= 1 && days <= RETENTION_DAYS_MAX ? days : null;
}

/** Whether the one setting keeps less than the other; null keeps everything. */
export const keepsLess = (wanted: number | null, before: number | null): boolean =>
  wanted !== null && (before === null || wanted < before);

export const keptSince = (days: number, now_ms: number): number => now_ms - days * DAY_MS;
