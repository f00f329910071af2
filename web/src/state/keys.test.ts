import { describe, expect, it } from "vitest";
import type { Key } from "../api/programs";
import { keyChangeOf, keyFieldsOf, keyProblemOf } from "./keys";

const NOW = new Date(2026, 0, 15, 12).getTime();
const empty = { ...keyFieldsOf(null), name: "robot" };
const change = (fields: typeof empty, key: Key | null = null) => keyChangeOf(fields, key, NOW, "en");
const known: Key = {
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

describe("the form of a key", () => {
  it("asks for nothing that was not filled in", () => {
    expect(change(empty)).toEqual({
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
    expect(keyFieldsOf(known).expires).toBe("2026-06-01");
    const { id: _id, start: _start, created_ms: _created, used_ms: _used, spent: _spent, ...all } = known;
    expect(change(keyFieldsOf(known))).toEqual(all);
  });

  it("leaves the end of a key at its moment unless another day is chosen", () => {
    const noon = { ...known, expires_ms: new Date(2026, 5, 1, 12).getTime() };
    expect(change({ ...keyFieldsOf(noon), name: "other" }, noon)).not.toHaveProperty("expires_ms");
    const over = { ...known, expires_ms: NOW - 1 };
    expect(change(keyFieldsOf(over), over)).toMatchObject({ name: "robot" });
    const later = { ...keyFieldsOf(noon), expires: "2026-06-02" };
    expect(change(later, noon)).toMatchObject({ expires_ms: new Date(2026, 5, 3).getTime() });
    expect(change({ ...keyFieldsOf(noon), expires: "" }, noon)).toMatchObject({ expires_ms: null });
  });

  it("takes an amount as it is written in one's language", () => {
    expect(keyChangeOf({ ...empty, spend_max: "2,5" }, null, NOW, "fr")).toMatchObject({ spend_max: "2.5" });
    expect(keyChangeOf({ ...empty, spend_max: "2,5" }, null, NOW, "en")).toBe("spend_max");
  });

  it("finds the field that the server names", () => {
    expect(keyProblemOf("expires_ms")).toBe("expires");
    expect(keyProblemOf("addresses")).toBe("addresses");
    for (const other of ["models", "constructor", null]) expect(keyProblemOf(other)).toBeNull();
  });

  it.each([
    ["name", "  "],
    ["name", "x".repeat(65)],
    ["expires", "2026-01-14"],
    ["expires", "soon"],
    ["spend_max", "0"],
    ["spend_max", "1e3"],
    ["requests_at_once", "0"],
    ["requests_at_once", "100000001"],
    ["requests_per_day", "1.5"],
    ["tokens_per_day", "-1"],
    ["addresses", "10.0.0.0/8, example.org"],
  ])("says that %s can't be %j", (field, value) => {
    expect(change({ ...empty, [field]: value })).toBe(field);
  });

  it("takes the day itself: a key is good to its end", () => {
    expect(change({ ...empty, expires: "2026-01-15" })).toMatchObject({
      expires_ms: new Date(2026, 0, 16).getTime(),
    });
  });
});
