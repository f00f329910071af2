import { describe, expect, it } from "vitest";
import { ApiError } from "../api/client";
import { user } from "../testing";
import { failureOf, limitsOf, rightsOver } from "./admin";

describe("what one may do with an account", () => {
  const none = { tend: false, change: false, remove: false };
  const all = { tend: true, change: true, remove: true };
  it.each([
    ["user", "user", none],
    ["operator", "user", { tend: true, change: false, remove: false }],
    ["operator", "operator", none],
    ["operator", "admin", none],
    ["admin", "user", all],
    ["admin", "operator", all],
    ["admin", "admin", all],
  ] as const)("%s over %s", (mine, theirs, rights) => {
    expect(rightsOver(user("me", { role: mine }), { id: "they", role: theirs })).toEqual(rights);
  });

  it.each([
    ["admin", { tend: false, change: true, remove: false }],
    ["operator", none],
  ] as const)("%s over their own, which is tended elsewhere", (role, rights) => {
    expect(rightsOver(user("me", { role }), { id: "me", role })).toEqual(rights);
  });
});

it.each([
  [0, null, "unreachable"],
  [403, "not_allowed", "notAllowed"],
  [404, "not_found", "gone"],
  [409, "conflict", "lastAdministrator"],
  [409, "name_taken", "nameTaken"],
  [409, "email_taken", "nameTaken"],
  [409, "backup_running", "other"],
  [429, "too_many_attempts", "busy"],
  [503, "database_busy", "busy"],
  [500, "internal_error", "other"],
])("the refusal %i %s is told as %s", (status, code, trouble) => {
  expect(failureOf(new ApiError(status, "why", { code }))).toEqual({ trouble, detail: "why" });
});

it("takes whole numbers as limits, and nothing for none", () => {
  const texts = { answers_at_once: " 2 ", messages_per_day: "", output_tokens_max: "0" };
  expect(limitsOf(texts)).toEqual({ answers_at_once: 2, messages_per_day: null, output_tokens_max: 0 });
});

it.each(["-1", "1.5", "1e3", "0x10", "many", "4294967296", "1 000"])("takes no %j as a limit", (text) => {
  const texts = { answers_at_once: "1", messages_per_day: text, output_tokens_max: "no" };
  expect(limitsOf(texts)).toBe("messages_per_day");
});
