import { describe, expect, it } from "vitest";
import { ApiError } from "../api/client";
import {
  codeOf,
  codeProblem,
  emailProblem,
  nameProblem,
  neededEmailProblem,
  newPasswordProblem,
  orLastWayIn,
  refusalOf,
  Trouble,
} from "./account";

describe("what one enters", () => {
  it.each([
    ["Al", null],
    [" 李白 ", null],
    ["𝒜𝒷", null],
    ["x".repeat(64), null],
    ["x".repeat(65), "nameLength"],
    ["𝒜", "nameLength"],
    ["  a  ", "nameLength"],
    ["", "nameLength"],
    ["a@b", "nameCharacters"],
    ["a\u0007b", "nameCharacters"],
    ["a\tb", "nameCharacters"],
  ])("the name %j: %s", (name, problem) => expect(nameProblem(name)).toBe(problem));

  it.each([
    ["", null],
    ["a@b", null],
    ["a b@c", "emailForm"],
    ["a@", "emailForm"],
    ["a@b@c", "emailForm"],
    ["whale", "emailForm"],
  ])("the address %j: %s", (email, problem) => expect(emailProblem(email)).toBe(problem));

  it("needs an address only where a letter is sent to it", () => {
    expect(emailProblem("  ")).toBeNull();
    expect(neededEmailProblem("  ")).toBe("emailMissing");
    expect(neededEmailProblem("whale")).toBe("emailForm");
    expect(neededEmailProblem(" a@b ")).toBeNull();
  });

  it("takes a code as it was read, with the blanks between its digits", () => {
    expect(codeOf(" 123\u00a0456\n")).toBe("123456");
    expect(codeOf("k7wq-2b4d")).toBe("k7wq-2b4d");
    expect(codeProblem(" \t")).toBe("codeMissing");
    expect(codeProblem("1")).toBeNull();
  });

  it("counts a password in characters, and trims nothing off it", () => {
    expect(newPasswordProblem("        ")).toBeNull();
    expect(newPasswordProblem("🐋".repeat(7))).toBe("passwordLength");
    expect(newPasswordProblem("🐋".repeat(256))).toBeNull();
    expect(newPasswordProblem("x".repeat(257))).toBe("passwordLength");
  });
});

describe("a refusal", () => {
  it.each([
    [403, "wrong_setup_token", null, "wrongToken", "token"],
    [409, "name_taken", "name", "nameTaken", "name"],
    [409, "name_taken", "email", "emailTaken", "email"],
    [409, "email_taken", null, "emailTaken", "email"],
    [422, "weak_password", "new", "passwordWeak", "password"],
    [422, "breached_password", "new", "passwordBreached", "password"],
    [422, "invalid_parameter", "name", "nameInvalid", "name"],
    [422, "invalid_parameter", "email", "emailForm", "email"],
    [422, "invalid_parameter", "new", "passwordLength", "password"],
    [422, "invalid_parameter", "unheard_of", "other", null],
    [401, "wrong_login", null, "wrongLogin", "old"],
    [401, "wrong_password", null, "wrongPassword", "old"],
    [401, "wrong_code", null, "wrongCode", "code"],
    [422, "invalid_parameter", "code", "wrongCode", "code"],
    [401, "wrong_passkey", null, "wrongPasskey", null],
    [422, "wrong_passkey", "credential", "passkeyUnsupported", null],
    [409, "passkeys_unavailable", null, "passkeyHost", null],
    [409, "full", null, "passkeysFull", null],
    [401, "ticket_expired", null, "ticketExpired", null],
    [400, "ticket_invalid", null, "ticketInvalid", null],
    [403, "sign_in_again", null, "signInAgain", null],
    [422, "no_mail", "email", "noMail", null],
    [503, "too_many_letters", null, "lettersFull", null],
    [429, "too_many_attempts", null, "tooManyAttempts", null],
    [503, "busy", null, "busy", null],
    [503, "database_busy", null, "busy", null],
    [502, null, null, "busy", null],
    [409, "conflict", null, "lastAdministrator", null],
    [0, null, null, "unreachable", null],
    [500, "internal_error", null, "other", null],
    [403, "forbidden_origin", null, "other", null],
  ])("%s %s %s is told as %s at %s", (status, code, param, problem, field) => {
    const told = refusalOf(new ApiError(status, "words", { code, param, retryAfter_s: null }));
    expect(told).toEqual({ problem, field, wait_s: null, detail: "words" });
  });

  it("is told as what the page found out itself", () => {
    expect(refusalOf(new Trouble("passkeyKnown"))).toMatchObject({ problem: "passkeyKnown", field: null });
  });

  it("to take away a way in means that it is the last one, if it is a conflict", () => {
    const conflict = new ApiError(409, "", { code: "conflict" });
    expect(orLastWayIn(conflict)).toMatchObject({ problem: "lastWayIn" });
    const other = new ApiError(401, "", { code: "wrong_password" });
    expect(orLastWayIn(other)).toBe(other);
  });

  it("carries how long to wait, where that is the reason", () => {
    const waitAfter = (status: number, code: string) =>
      refusalOf(new ApiError(status, "", { code, retryAfter_s: 7 })).wait_s;
    expect(waitAfter(429, "too_many_attempts")).toBe(7);
    expect(waitAfter(503, "busy")).toBe(7);
    expect(waitAfter(401, "wrong_login")).toBeNull();
  });
});
