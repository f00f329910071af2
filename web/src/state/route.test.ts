import { expect, it } from "vitest";
import { conversationOfPath, pathOf } from "./route";

it("reads back the address that it makes", () => {
  for (const id of ["0198-abc", "a/b", "ä %", null]) expect(conversationOfPath(pathOf(id))).toBe(id);
});

it.each(["/", "/c/", "/c", "/d/x", "/c/x/y", "/c/%"])("%s is no conversation", (path) => {
  expect(conversationOfPath(path)).toBeNull();
});
