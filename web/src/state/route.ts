import type { Session } from "../api/types";

/**
 * The addresses of the page: `/` is a new chat, `/c/{id}` a conversation, `/admin/…` for those who run the place, and the rest
 * is about the account.
 */

export type Page =
  | "chat"
  | "login"
  | "sign-up"
  | "setup"
  | "verify"
  | "reset"
  | "account"
  | "programs"
  | "status"
  | "admin";

const pages: Readonly<Record<string, Page>> = {
  "/login": "login",
  "/sign-up": "sign-up",
  "/setup": "setup",
  "/verify": "verify",
  "/reset": "reset",
  "/account": "account",
  "/keys": "programs",
  "/usage": "programs",
  "/reference": "programs",
  "/status": "status",
};

/** Anything that we don't know is a new chat, as the server gives the page for it. */
export const pageOfPath = (path: string): Page =>
  pages[path.replace(/\/$/, "")] ?? (/^\/admin(?:\/|$)/.test(path) ? "admin" : "chat");

/** What there is for who writes programs. */
export const programParts = ["keys", "usage", "reference"] as const;

export type ProgramPart = (typeof programParts)[number];

export const programPartOf = (path: string): ProgramPart =>
  programParts.find((part) => path.replace(/\/$/, "") === `/${part}`) ?? "keys";

/** The parts of the admin area; one user is a part of `users`. */
export const adminParts = ["users", "groups", "usage", "gate", "audit", "status"] as const;

export interface AdminPlace {
  part: (typeof adminParts)[number];
  /** The user that `/admin/users/{id}` names. */
  user: string | null;
}

/** Where in the admin area an address leads; the users are its beginning, and stand for what we don't know. */
export function adminPlaceOf(path: string): AdminPlace {
  const [, , name, id, ...more] = path.replace(/\/$/, "").split("/");
  const part = adminParts.find((known) => known === name) ?? "users";
  if (name !== "users" || id === undefined || more.length > 0) return { part, user: null };
  try {
    return { part, user: decodeURIComponent(id) };
  } catch {
    return { part, user: null };
  }
}

export const adminPath = ({ part, user }: AdminPlace): string =>
  user === null ? `/admin/${part}` : `/admin/${part}/${encodeURIComponent(user)}`;

export function conversationOfPath(path: string): string | null {
  const id = /^\/c\/([^/]+)\/?$/.exec(path)?.[1];
  if (id === undefined) return null;
  try {
    return decodeURIComponent(id);
  } catch {
    return null;
  }
}

export const pathOf = (conversation: string | null): string =>
  conversation === null ? "/" : `/c/${encodeURIComponent(conversation)}`;

export function pushPath(conversation: string | null): void {
  const path = pathOf(conversation);
  if (window.location.pathname !== path) window.history.pushState(null, "", path);
}

// --- the way back after signing in ---

const RETURN = "next";

/**
 * Where one goes after signing in. The address may come from a stranger's link, so that it is not followed but read: only what is a
 * page of ours for someone signed in is made anew from what was read, and everything else is a new chat.
 */
export function returnPath(search: string): string {
  const wanted = new URLSearchParams(search).get(RETURN) ?? "";
  if (wanted === "/account") return wanted;
  if (pageOfPath(wanted) === "programs") return `/${programPartOf(wanted)}`;
  if (pageOfPath(wanted) === "admin") return adminPath(adminPlaceOf(wanted));
  return pathOf(conversationOfPath(wanted));
}

/** The address of `page`, from which one comes back to `path` once signed in. */
export function pathVia(page: "/login" | "/sign-up", path: string): string {
  const back = returnPath(`?${new URLSearchParams({ [RETURN]: path })}`);
  return back === "/" ? page : `${page}?${new URLSearchParams({ [RETURN]: back })}`;
}

/** What an address shows to whom: where `path` may not be looked at, another one stands in for it. */
export function allowedPath(path: string, search: string, session: Session): string {
  const page = pageOfPath(path);
  // How the service is shall be seen by everybody.
  if (page === "status") return path + search;
  // What a letter leads to is for whoever holds it, signed in or not.
  if (!session.setup && (page === "verify" || page === "reset")) return path + search;
  // What programs can do is no secret.
  if (!session.setup && page === "programs" && programPartOf(path) === "reference") return path + search;
  if (session.user !== null) {
    if (page === "admin") return session.user.role === "user" ? "/" : path + search;
    return page === "login" || page === "sign-up" || page === "setup" ? returnPath(search) : path + search;
  }
  if (session.setup) return page === "setup" ? path + search : "/setup";
  if (page === "login" || (page === "sign-up" && session.sign_up)) return path + search;
  if (page === "sign-up" || page === "setup") return pathVia("/login", returnPath(search));
  return pathVia("/login", path);
}

/** What can go wrong on the way by a provider; there is a text for each. */
const providerErrors = [
  "oidc_failed",
  "oidc_denied",
  "oidc_expired",
  "oidc_unknown",
  "oidc_email_taken",
  "oidc_domain",
  "oidc_taken",
  "oidc_no_place",
] as const;

export type ProviderError = (typeof providerErrors)[number];

/** The error that a provider's way back has put into the address. Anybody can write one there, so that only ours are told. */
export function providerErrorOf(search: string): ProviderError | null {
  const given = new URLSearchParams(search).get("error");
  if (given === null) return null;
  return providerErrors.find((known) => known === given) ?? "oidc_failed";
}

/** The rest of the address, once the error has been taken out of it. */
export function withoutProviderError(search: string): string {
  const query = new URLSearchParams(search);
  query.delete("error");
  return query.size === 0 ? "" : `?${query}`;
}

/** Where a provider's sign-in begins; the server brings the browser back to `path`. With a place in the waiting list, if there is one. */
export const providerPath = (id: string, path: string, place: string | null = null): string =>
  `/oidc/${encodeURIComponent(id)}/start?${new URLSearchParams({
    [RETURN]: path,
    ...(place === null ? {} : { place }),
  })}`;

/** Where an account is linked with a provider, once that was confirmed. */
export const linkPath = (id: string, ticket: string): string =>
  `/oidc/${encodeURIComponent(id)}/start?${new URLSearchParams({ link: ticket })}`;

// --- what a link brings along for a new account ---

/** What stands behind `#name=` in an address, or null. */
export function fragmentOf(hash: string, name: "invitation" | "place"): string | null {
  const given = new URLSearchParams(hash.replace(/^#/, "")).get(name)?.trim() ?? "";
  return given === "" ? null : given;
}

export const invitationPath = (ticket: string): string =>
  `/sign-up#${new URLSearchParams({ invitation: ticket })}`;

/** The provider by which one wanted to come in, and for which one has a place in the waiting list. */
export const providerOf = (search: string): string | null => new URLSearchParams(search).get("provider");

/** The token in a link to the setup or in a letter, or in what was pasted of one. */
export function tokenOf(text: string): string {
  const trimmed = text.trim();
  return trimmed.slice(trimmed.lastIndexOf("#") + 1);
}
