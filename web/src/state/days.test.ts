import { describe, expect, it } from "vitest";
import { conversation } from "../testing";
import { type Day, dayOf, groupByDay, mergeConversations } from "./days";

const now = new Date(2026, 2, 15, 12, 0, 0).getTime();
const at = (year: number, month: number, day: number, hour = 12) =>
  new Date(year, month, day, hour).getTime();

describe("dayOf", () => {
  const cases: [string, number, Day][] = [
    ["this morning", at(2026, 2, 15, 0), "today"],
    ["a clock that runs ahead", at(2026, 2, 16), "today"],
    ["late yesterday", at(2026, 2, 14, 23), "yesterday"],
    ["two days ago", at(2026, 2, 13), "week"],
    ["a week ago", at(2026, 2, 8), "week"],
    ["eight days ago", at(2026, 2, 7), "month"],
    ["thirty days ago", at(2026, 1, 13), "month"],
    ["31 days ago", at(2026, 1, 12), { year: 2026, month: 1 }],
    ["last year", at(2025, 11, 31), { year: 2025, month: 11 }],
  ];
  it.each(cases)("%s", (_, then, day) => expect(dayOf(then, now)).toEqual(day));
});

describe("groupByDay", () => {
  it("keeps the order and makes each group once", () => {
    const list = [
      conversation("a", at(2026, 2, 15)),
      conversation("b", at(2026, 2, 15, 1)),
      conversation("c", at(2025, 0, 9)),
      conversation("d", at(2025, 0, 2)),
    ];
    expect(
      groupByDay(list, now).map(({ day, conversations }) => [day, conversations.map(({ id }) => id)]),
    ).toEqual([
      ["today", ["a", "b"]],
      [{ year: 2025, month: 0 }, ["c", "d"]],
    ]);
    expect(groupByDay([], now)).toEqual([]);
  });
});

describe("mergeConversations", () => {
  it("sorts newest first and believes the first list", () => {
    const fresh = [conversation("b", 30, { title: "new" }), conversation("a", 10)];
    const old = [conversation("c", 20), conversation("b", 5, { title: "old" })];
    const merged = mergeConversations(fresh, old);
    expect(merged.map(({ id, title }) => [id, title])).toEqual([
      ["b", "new"],
      ["c", "c"],
      ["a", "a"],
    ]);
  });
});
