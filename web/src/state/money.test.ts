import { describe, expect, it } from "vitest";
import { amountIn, amountOf, moneyText, nanosOf, sumOf } from "./money";

describe("amounts", () => {
  it("are read and written without loss", () => {
    for (const text of ["0", "1", "12.5", "0.000000001", "-3.07", "9999999999.999999999"]) {
      expect(amountOf(nanosOf(text) ?? -1n)).toBe(text);
    }
    for (const wrong of ["", ".5", "1e9", "1,5", "NaN", "--1", "0.0000000001"])
      expect(nanosOf(wrong)).toBeNull();
  });

  it("are added exactly, where binary fractions are not", () => {
    expect(0.1 + 0.2).not.toBe(0.3);
    expect(sumOf(["0.1", "0.2"])).toBe("0.3");
    expect(sumOf([])).toBe("0");
    expect(sumOf(["1.5", "-2"])).toBe("-0.5");
  });

  it("are shown as people read them, and the smallest are not shown as nothing", () => {
    expect(moneyText("1234.5", "USD", "en")).toBe("$1,234.50");
    expect(moneyText("0.000214", "USD", "en")).toBe("$0.000214");
    expect(moneyText("0.0000002", "USD", "en")).toBe("$0.0000002");
    expect(moneyText("0.25", "USD", "en")).toBe("$0.25");
    expect(moneyText("-3.07", "EUR", "fr")).toMatch(/^-3,07\s€$/);
    expect(moneyText("9999999999.119999999", "USD", "en")).toBe("$9,999,999,999.12");
    expect(moneyText("0", "USD", "en")).toBe("$0.00");
    expect(moneyText("2", "krill", "en")).toBe("2.00 krill");
  });

  it("are taken as they are written in one's language, or with a point", () => {
    expect(amountIn(" 12.50 ", "en")).toBe("12.5");
    expect(amountIn("12,50", "fr")).toBe("12.5");
    expect(amountIn("12.50", "fr")).toBe("12.5");
    // It may be twelve thousand and five hundred.
    expect(amountIn("12,500", "en")).toBeNull();
    expect(amountIn("1,2,3", "fr")).toBeNull();
  });
});
