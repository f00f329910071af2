import { beforeEach, expect, it } from "vitest";
import {
  forgetNewcomer,
  recallDraftOfNewcomer,
  recallInvitation,
  recallPlace,
  rememberDraftOfNewcomer,
  rememberInvitation,
  rememberPlace,
} from "./newcomer";

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
});

it("keeps what was entered, and never a password", () => {
  for (const name of ["name", "email", "password", "old", "token", "code"])
    rememberDraftOfNewcomer(name, `my ${name}`);
  expect(recallDraftOfNewcomer()).toEqual({ name: "my name", email: "my email" });
  rememberDraftOfNewcomer("email", "");
  expect(recallDraftOfNewcomer()).toEqual({ name: "my name" });
  const all = JSON.stringify([{ ...localStorage }, { ...sessionStorage }]);
  expect(all).not.toMatch(/my (?:password|old|token|code)/);
});

it("forgets all of it once one has come in, and nothing else", () => {
  localStorage.setItem("cachalot.theme", "dark");
  rememberDraftOfNewcomer("name", "ada");
  rememberInvitation("i");
  rememberPlace("form", "f");
  rememberPlace("letter", "l");
  rememberPlace("provider.harbour", "p");
  expect([recallInvitation(), recallPlace("form"), recallPlace("letter")]).toEqual(["i", "f", "l"]);
  forgetNewcomer();
  expect([recallInvitation(), recallPlace("form"), recallPlace("letter")]).toEqual([null, null, null]);
  expect(recallPlace("provider.harbour")).toBeNull();
  expect(recallDraftOfNewcomer()).toEqual({});
  expect({ ...localStorage }).toEqual({ "cachalot.theme": "dark" });
});
