import { describe, expect, it } from "vitest";
import type { UsageSum } from "../api/programs";
import { byModel, columnsOf, scaleOf, spanOf, totalOf } from "./usage";

const at = (text: string) => Date.parse(text);
const sum = (from: string, model: string, more: Partial<UsageSum> = {}): UsageSum => ({
  from_ms: at(from),
  model,
  requests: 1,
  hit_tokens: 10,
  miss_tokens: 20,
  output_tokens: 30,
  reasoning_tokens: 5,
  cost: "0.1",
  ...more,
});

describe("a time", () => {
  it("is of whole days by one's own clock, today's included", () => {
    // Half past midnight in Kathmandu.
    const now_ms = at("2026-03-09T18:45:00Z");
    expect(spanOf("week", now_ms, 345)).toEqual({
      since_ms: at("2026-03-03T18:15:00Z"),
      by: "day",
      zone_minutes: 345,
      count: 7,
    });
    expect(spanOf("today", now_ms, 345)).toMatchObject({
      since_ms: at("2026-03-09T18:15:00Z"),
      by: "hour",
      count: 24,
    });
    expect(spanOf("today", now_ms, -480).since_ms).toBe(at("2026-03-09T08:00:00Z"));
    expect(spanOf("month", now_ms, 0).count).toBe(30);
    expect(spanOf("quarter", now_ms, 0).since_ms).toBe(at("2025-12-10T00:00:00Z"));
  });
});

describe("sums", () => {
  const span = spanOf("week", at("2026-03-09T12:00:00Z"), 0);
  const sums = [
    sum("2026-03-03T00:00:00Z", "small", { cost: "0.2" }),
    sum("2026-03-03T00:00:00Z", "large", { output_tokens: 1000 }),
    sum("2026-03-09T00:00:00Z", "small"),
    // Outside of it.
    sum("2026-03-10T00:00:00Z", "small"),
    sum("2026-03-02T00:00:00Z", "small"),
  ];

  it("stand in the columns of their days, and days without any have one too", () => {
    const columns = columnsOf(sums, span);
    expect(columns.map(({ requests }) => requests)).toEqual([2, 0, 0, 0, 0, 0, 1]);
    expect(columns[0]).toMatchObject({ hit: 20, miss: 40, output: 1030, reasoning: 10, cost: 300_000_000n });
    expect([...(columns[0]?.costs ?? [])]).toEqual([
      ["small", 200_000_000n],
      ["large", 100_000_000n],
    ]);
    expect(columns[6]?.from_ms).toBe(at("2026-03-09T00:00:00Z"));
  });

  it("are added by model, exactly", () => {
    expect(byModel(sums).map(({ model, requests, cost }) => [model, requests, cost])).toEqual([
      ["large", 1, 100_000_000n],
      ["small", 4, 500_000_000n],
    ]);
    expect(totalOf(sums)).toMatchObject({ requests: 5, cost: 600_000_000n });
    expect(totalOf([])).toMatchObject({ requests: 0, cost: 0n });
  });
});

it.each([
  [0, 10],
  [10, 10],
  [11, 20],
  [21, 50],
  [51, 100],
  [1000, 1000],
  [123_456, 200_000],
])("a scale for %i ends at %i", (most, top) => expect(scaleOf(most)).toBe(top));
