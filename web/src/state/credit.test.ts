import { describe, expect, it } from "vitest";
import { creditOf } from "./credit";

const fields = { way: "grant", amount: "5", note: " for trying " } as const;

describe("the form of a credit", () => {
  it.each([
    ["grant", { kind: "grant", amount: "5", note: "for trying" }],
    ["top_up", { kind: "top_up", amount: "5", note: "for trying" }],
    ["take_grant", { kind: "grant", amount: "-5", note: "for trying" }],
    ["take_top_up", { kind: "top_up", amount: "-5", note: "for trying" }],
  ] as const)("asks for %s", (way, credit) => {
    expect(creditOf({ ...fields, way }, "en")).toEqual(credit);
  });

  it.each(["", "0", "-5", "0.00", "five", "1000000000.000000001"])("says that %j is no amount", (amount) => {
    expect(creditOf({ ...fields, amount }, "en")).toBe("amount");
  });

  it("keeps every place of an amount, and notes to their length", () => {
    expect(creditOf({ ...fields, amount: "0,000000001" }, "fr")).toMatchObject({ amount: "0.000000001" });
    expect(creditOf({ ...fields, note: "鲸".repeat(200) }, "en")).toMatchObject({ note: "鲸".repeat(200) });
    expect(creditOf({ ...fields, note: "x".repeat(201) }, "en")).toBe("note");
  });
});
