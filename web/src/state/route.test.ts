import { describe, expect, it } from "vitest";
import { session, user as userOf } from "../testing";
import {
  adminPath,
  adminPlaceOf,
  allowedPath,
  conversationOfPath,
  fragmentOf,
  invitationPath,
  linkPath,
  pageOfPath,
  pathOf,
  pathVia,
  providerErrorOf,
  providerOf,
  providerPath,
  returnPath,
  tokenOf,
  withoutProviderError,
} from "./route";

it("shows what programs can ask to whoever comes, and their keys to nobody else", () => {
  expect(allowedPath("/reference", "", session())).toBe("/reference");
  expect(allowedPath("/reference", "", session({ setup: true }))).toBe("/setup");
  for (const path of ["/keys", "/usage"])
    expect(allowedPath(path, "", session())).toBe(`/login?next=%2F${path.slice(1)}`);
});

it("shows how the service is to everybody, at any time", () => {
  for (const known of [session(), session({ user: userOf("ada") }), session({ setup: true })])
    expect(allowedPath("/status", "", known)).toBe("/status");
});

it("reads what a link brings along for a new account, and makes such links", () => {
  expect(fragmentOf("#invitation=a-b_c.d", "invitation")).toBe("a-b_c.d");
  expect(fragmentOf("#invitation=", "invitation")).toBeNull();
  expect(fragmentOf("#invitation", "invitation")).toBeNull();
  expect(fragmentOf("#abc", "invitation")).toBeNull();
  expect(fragmentOf("", "place")).toBeNull();
  expect(fragmentOf("#place=p", "place")).toBe("p");
  expect(fragmentOf("#place=p", "invitation")).toBeNull();
  const odd = "a+b/c=&d";
  const path = invitationPath(odd);
  expect(path.startsWith("/sign-up#invitation=")).toBe(true);
  expect(fragmentOf(path.slice(path.indexOf("#")), "invitation")).toBe(odd);
});

it("takes a place in line along to a provider", () => {
  expect(providerPath("harbour", "/", "p/q")).toBe("/oidc/harbour/start?next=%2F&place=p%2Fq");
  expect(providerOf("?provider=harbour")).toBe("harbour");
  expect(providerOf("?next=%2F")).toBeNull();
});

it("reads back the address that it makes", () => {
  for (const id of ["0198-abc", "a/b", "ä %", null]) expect(conversationOfPath(pathOf(id))).toBe(id);
});

it.each(["/", "/c/", "/c", "/d/x", "/c/x/y", "/c/%"])("%s is no conversation", (path) => {
  expect(conversationOfPath(path)).toBeNull();
});

it.each([
  ["/login", "login"],
  ["/login/", "login"],
  ["/sign-up", "sign-up"],
  ["/setup", "setup"],
  ["/account", "account"],
  ["/verify", "verify"],
  ["/reset/", "reset"],
  ["/admin", "admin"],
  ["/admin/", "admin"],
  ["/admin/users/x", "admin"],
  ["/keys", "programs"],
  ["/usage/", "programs"],
  ["/reference", "programs"],
  ["/status", "status"],
  ["/status/", "status"],
  ["/keys/x", "chat"],
  ["/admin/nothing", "admin"],
  ["/administrator", "chat"],
  ["/", "chat"],
  ["/c/x", "chat"],
  ["/LOGIN", "chat"],
  ["/constructor", "chat"],
  ["/login/x", "chat"],
])("%s shows the page %s", (path, page) => expect(pageOfPath(path)).toBe(page));

it.each([
  ["/admin", "users", null],
  ["/admin/", "users", null],
  ["/admin/users", "users", null],
  ["/admin/users/0198-abc", "users", "0198-abc"],
  ["/admin/users/a%2Fb", "users", "a/b"],
  ["/admin/users/%", "users", null],
  ["/admin/users/x/y", "users", null],
  ["/admin/groups", "groups", null],
  ["/admin/groups/x", "groups", null],
  ["/admin/audit/", "audit", null],
  ["/admin/status", "status", null],
  ["/admin/usage", "usage", null],
  ["/admin/gate", "gate", null],
  ["/admin/constructor", "users", null],
  ["/admin//x", "users", null],
] as const)("%s is the part %s of the admin area, and its user %s", (path, part, user) => {
  expect(adminPlaceOf(path)).toEqual({ part, user });
  expect(adminPlaceOf(adminPath({ part, user }))).toEqual({ part, user });
});

describe("the way back after signing in", () => {
  it.each([
    "/admin/users",
    "/admin/users/0198-abc",
    "/admin/status",
    "/keys",
    "/usage",
    "/",
    "/account",
    "/c/0198-abc",
    "/c/a%2Fb",
    "/c/%C3%A4",
  ])("leads to %s", (path) => {
    expect(returnPath(`?next=${encodeURIComponent(path)}`)).toBe(path);
    const via = pathVia("/login", path);
    expect(via.startsWith("/login")).toBe(true);
    expect(returnPath(via.slice("/login".length))).toBe(path);
  });

  it.each([
    "",
    "//whale.invalid",
    "///whale.invalid/c/x",
    "https://whale.invalid/c/x",
    "https:whale.invalid",
    "/\\whale.invalid",
    "\\\\whale.invalid",
    "/c//whale.invalid",
    "/c/x/../../api/logout",
    "javascript:alert(1)",
    " /account",
    "/account\n",
    "/account?x=//whale.invalid",
    "/login?next=/login",
    "/sign-up",
    "/setup#token",
    "/api/session",
    "/administrator",
    "/admin\\x",
    "/c/%",
  ])("does not lead to %j", (path) => {
    expect(returnPath(`?next=${encodeURIComponent(path)}`)).toBe("/");
    expect(pathVia("/sign-up", path)).toBe("/sign-up");
  });

  it("stays within the conversation that it names, whatever that is called", () => {
    for (const path of ["/c/@whale.invalid", "/c/%2F%2Fwhale.invalid", "/c/..%2F..", "/c/x?y#z"]) {
      const back = new URL(returnPath(`?next=${encodeURIComponent(path)}`), "http://our.own/");
      expect(back.origin).toBe("http://our.own");
      expect(back.pathname).toMatch(/^\/c\/[^/]+$/);
      expect(back.search + back.hash).toBe("");
    }
  });

  it("takes the first of several, and none as a new chat", () => {
    expect(returnPath("?next=/account&next=//whale.invalid")).toBe("/account");
    expect(returnPath("")).toBe("/");
  });
});

describe("what an address shows", () => {
  const user = userOf("u");

  it.each([
    ["/", "", "/login"],
    ["/c/x", "", "/login?next=%2Fc%2Fx"],
    ["/account", "", "/login?next=%2Faccount"],
    ["/login", "?next=%2Fc%2Fx", "/login?next=%2Fc%2Fx"],
    ["/sign-up", "", "/sign-up"],
    ["/setup", "", "/login"],
  ])("to a stranger, of %s%s: %s", (path, search, shown) => {
    expect(allowedPath(path, search, session({}))).toBe(shown);
  });

  it("to a stranger where none are taken: the login, and the same way back", () => {
    expect(allowedPath("/sign-up", "?next=%2Fc%2Fx", session({ sign_up: false }))).toBe(
      "/login?next=%2Fc%2Fx",
    );
  });

  it.each(["/verify", "/reset"])("to everybody who holds a letter, of %s: the same", (path) => {
    expect(allowedPath(path, "", session({}))).toBe(path);
    expect(allowedPath(path, "", session({ sign_up: false }))).toBe(path);
    expect(allowedPath(path, "", session({ user }))).toBe(path);
  });

  it.each(["/", "/c/x", "/login", "/sign-up", "/account", "/setup", "/verify", "/reset"])(
    "before there is a user, of %s: the setup",
    (path) => expect(allowedPath(path, "", session({ setup: true }))).toBe("/setup"),
  );

  it.each([
    ["/", "", "/"],
    ["/c/x", "", "/c/x"],
    ["/account", "", "/account"],
    ["/login", "", "/"],
    ["/login", "?next=%2Fc%2Fx", "/c/x"],
    ["/sign-up", "?next=//whale.invalid", "/"],
    ["/setup", "", "/"],
    ["/admin/users", "?q=x", "/"],
    ["/usage", "?key=x", "/usage?key=x"],
    ["/login", "?next=%2Fkeys", "/keys"],
  ])("to a user, of %s%s: %s", (path, search, shown) => {
    expect(allowedPath(path, search, session({ user }))).toBe(shown);
  });

  it.each(["operator", "admin"] as const)("to an %s, the admin area too", (role) => {
    const operators = session({ user: { ...user, role } });
    expect(allowedPath("/admin/users", "?q=x", operators)).toBe("/admin/users?q=x");
    expect(allowedPath("/login", "?next=%2Fadmin%2Faudit", operators)).toBe("/admin/audit");
  });
});

it.each([
  ["#abc-_1", "abc-_1"],
  [" http://127.0.0.1:8080/setup#abc\n", "abc"],
  ["abc", "abc"],
  ["#", ""],
  ["", ""],
])("finds the token in %j", (text, token) => expect(tokenOf(text)).toBe(token));

describe("a provider", () => {
  it.each([
    ["", null],
    ["?next=/account", null],
    ["?error=oidc_denied", "oidc_denied"],
    ["?error=", "oidc_failed"],
    ["?error=constructor", "oidc_failed"],
    ["?error=Call+0900-1234", "oidc_failed"],
  ])("whose way back has %j: %s", (search, error) => expect(providerErrorOf(search)).toBe(error));

  it.each([
    ["?error=oidc_denied", ""],
    ["?next=%2Faccount&error=x", "?next=%2Faccount"],
    ["", ""],
  ])("whose error is taken out of %j leaves %j", (search, left) => {
    expect(withoutProviderError(search)).toBe(left);
  });

  it("is begun with at addresses that its id can't leave", () => {
    expect(providerPath("harbour", "/c/x?y")).toBe("/oidc/harbour/start?next=%2Fc%2Fx%3Fy");
    expect(providerPath("../a?b", "/")).toBe("/oidc/..%2Fa%3Fb/start?next=%2F");
    expect(linkPath("../a?b", "T-_&x")).toBe("/oidc/..%2Fa%3Fb/start?link=T-_%26x");
  });
});
