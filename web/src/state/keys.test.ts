import { describe, expect, it } from "vitest";
import { keyChangeOf, keyFieldsOf } from "./keys";

const NOW = new Date(2026, 0, 15, 12).getTime();
const empty = { ...keyFieldsOf(null), name: "robot" };

describe("the form of a key", () => {
  it("asks for nothing that was not filled in", () => {
    expect(keyChangeOf(empty, NOW)).toEqual({
      name: "robot",
      expires_ms: null,
      models: null,
      spend_max: null,
      requests_at_once: null,
      requests_per_day: null,
      tokens_per_day: null,
      addresses: [],
    });
  });

  it("gives back what a key has", () => {
    const key = {
      id: "1",
      name: "robot",
      start: "sk-cachalot-AQ",
      created_ms: NOW,
      used_ms: null,
      spent: "0",
      expires_ms: new Date(2026, 5, 2).getTime(),
      models: ["smollm2-135m"],
      spend_max: "12.5",
      addresses: ["10.0.0.0/8", "fd00::/8"],
      requests_at_once: 2,
      requests_per_day: 1000,
      tokens_per_day: 5_000_000,
    };
    expect(keyFieldsOf(key).expires).toBe("2026-06-01");
    const { id: _id, start: _start, created_ms: _created, used_ms: _used, spent: _spent, ...change } = key;
    expect(keyChangeOf(keyFieldsOf(key), NOW)).toEqual(change);
  });

  it.each([
    ["name", "  "],
    ["name", "x".repeat(65)],
    ["expires", "2026-01-14"],
    ["expires", "soon"],
    ["spend_max", "0"],
    ["spend_max", "1e3"],
    ["requests_at_once", "0"],
    ["requests_per_day", "1.5"],
    ["tokens_per_day", "-1"],
    ["addresses", "10.0.0.0/8, example.org"],
  ])("says that %s can't be %j", (field, value) => {
    expect(keyChangeOf({ ...empty, [field]: value }, NOW)).toBe(field);
  });

  it("takes the day itself: a key is good to its end", () => {
    expect(keyChangeOf({ ...empty, expires: "2026-01-15" }, NOW)).toMatchObject({
      expires_ms: new Date(2026, 0, 16).getTime(),
    });
  });
});
