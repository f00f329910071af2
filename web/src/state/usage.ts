import type { Period, UsageSum } from "../api/programs";
import { nanosOf } from "./money";

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const MINUTE_MS = 60_000;

export const periodNames = ["today", "week", "month", "quarter"] as const;

export type PeriodName = (typeof periodNames)[number];

const DAYS: Readonly<Record<PeriodName, number>> = { today: 1, week: 7, month: 30, quarter: 90 };

/** A time with the days or hours that it has. */
export interface Span extends Period {
  count: number;
}

/** The days that end with today, or today's hours, by a clock that is so far ahead of UTC. */
export function spanOf(name: PeriodName, now_ms: number, zone_minutes: number): Span {
  const zone_ms = zone_minutes * MINUTE_MS;
  const today_ms = Math.floor((now_ms + zone_ms) / DAY_MS) * DAY_MS - zone_ms;
  return name === "today"
    ? { since_ms: today_ms, by: "hour", zone_minutes, count: 24 }
    : { since_ms: today_ms - (DAYS[name] - 1) * DAY_MS, by: "day", zone_minutes, count: DAYS[name] };
}

/** What requests took together. */
export interface Taken {
  requests: number;
  hit: number;
  miss: number;
  output: number;
  reasoning: number;
  /** In billionths of the currency's unit. */
  cost: bigint;
}

interface Column extends Taken {
  from_ms: number;
  /** What each model cost. */
  costs: Map<string, bigint>;
}

const nothing = (): Taken => ({ requests: 0, hit: 0, miss: 0, output: 0, reasoning: 0, cost: 0n });

function add(to: Taken, sum: UsageSum): void {
  to.requests += sum.requests;
  to.hit += sum.hit_tokens;
  to.miss += sum.miss_tokens;
  to.output += sum.output_tokens;
  to.reasoning += sum.reasoning_tokens;
  to.cost += nanosOf(sum.cost) ?? 0n;
}

export function totalOf(sums: readonly UsageSum[]): Taken {
  const total = nothing();
  for (const sum of sums) add(total, sum);
  return total;
}

/** One column for each day or hour of the time, those without requests too. */
export function columnsOf(sums: readonly UsageSum[], { since_ms, by, count }: Span): Column[] {
  const length_ms = by === "day" ? DAY_MS : HOUR_MS;
  const columns: Column[] = Array.from({ length: count }, (_, index) => ({
    ...nothing(),
    from_ms: since_ms + index * length_ms,
    costs: new Map<string, bigint>(),
  }));
  for (const sum of sums) {
    const column = columns[Math.floor((sum.from_ms - since_ms) / length_ms)];
    if (column === undefined) continue;
    add(column, sum);
    column.costs.set(sum.model, (column.costs.get(sum.model) ?? 0n) + (nanosOf(sum.cost) ?? 0n));
  }
  return columns;
}

export interface OfModel extends Taken {
  model: string;
}

/** What each model took, the one with the most tokens first. */
export function byModel(sums: readonly UsageSum[]): OfModel[] {
  const models = new Map<string, OfModel>();
  for (const sum of sums) {
    const known = models.get(sum.model) ?? { ...nothing(), model: sum.model };
    models.set(sum.model, known);
    add(known, sum);
  }
  const tokens = ({ hit, miss, output }: Taken) => hit + miss + output;
  return [...models.values()].sort((a, b) => tokens(b) - tokens(a) || (a.model < b.model ? -1 : 1));
}

/** The end of a scale on which `most` has room: a round number, as is its half. At least 10, for what is counted in whole numbers. */
export function scaleOf(most: number): number {
  const power = 10 ** Math.floor(Math.log10(Math.max(10, most)));
  return [1, 2, 5, 10].map((step) => step * power).find((top) => top >= most) ?? 10 * power;
}
