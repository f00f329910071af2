import { expect, it } from "vitest";
import { daysOf, keepsLess } from "./retention";

it.each([
  ["1", 1],
  [" 90 ", 90],
  ["3650", 3650],
  ["0", null],
  ["3651", null],
  ["", null],
  ["1.5", null],
  ["1e2", null],
  ["-3", null],
  ["a week", null],
])("reads %j as %s days", (text, days) => expect(daysOf(text)).toBe(days));

it.each([
  [null, null, false],
  [null, 30, false],
  [30, null, true],
  [30, 31, true],
  [30, 30, false],
  [31, 30, false],
])("%s days after %s keep less: %s", (wanted, before, less) => expect(keepsLess(wanted, before)).toBe(less));
