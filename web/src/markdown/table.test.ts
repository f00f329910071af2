import { expect, it } from "vitest";
import { holdBackTable } from "./table";

it.each([
  ["text\n| a", "text"],
  ["text\n| a | b |\n", "text\n| a | b |\n"],
  ["text\n\n| a | b |\n|--", "text\n"],
  ["| a |\n|---|\n", "| a |\n|---|\n"],
  ["| a |\n|---|\n| 1", "| a |\n|---|\n| 1"],
  ["no table", "no table"],
  ["", ""],
])("%j", (input, expected) => expect(holdBackTable(input)).toBe(expected));
