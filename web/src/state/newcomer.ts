import { recall, remember } from "./storage";

/** What the browser keeps of somebody who has no account yet: what they entered but for the password, and their place. */

const tab = (): Storage => sessionStorage;

const kept = ["name", "email"] as const;

export type Draft = Partial<Record<(typeof kept)[number], string>>;

export const recallDraftOfNewcomer = (): Draft =>
  Object.fromEntries(
    kept.flatMap((name) => {
      const text = recall(`newcomer.${name}`, tab);
      return text === null ? [] : [[name, text]];
    }),
  );

/** Keeps what stands in a field; a password is in none of those. */
export function rememberDraftOfNewcomer(name: string, text: string): void {
  if (kept.some((known) => known === name)) remember(`newcomer.${name}`, text === "" ? null : text, tab);
}

/** An invitation is good for an account, so that it doesn't outlive the tab. */
export const recallInvitation = (): string | null => recall("newcomer.invitation", tab);

export const rememberInvitation = (ticket: string | null): void =>
  remember("newcomer.invitation", ticket, tab);

/** For what a place is: the form, the link of a letter, or a provider. */
export type PlaceFor = "form" | "letter" | `provider.${string}`;

/** A place outlives the tab: whoever waits may come back later. */
export const recallPlace = (of: PlaceFor): string | null => recall(`place.${of}`);

export const rememberPlace = (of: PlaceFor, ticket: string | null): void => remember(`place.${of}`, ticket);

export const placeKey = (of: PlaceFor): string => `cachalot.place.${of}`;

/** Whoever has come in is no newcomer any more. */
export function forgetNewcomer(): void {
  for (const name of kept) remember(`newcomer.${name}`, null, tab);
  rememberInvitation(null);
  try {
    for (const key of Object.keys(localStorage)) {
      if (key.startsWith("cachalot.place.")) localStorage.removeItem(key);
    }
  } catch {
    // Storage may be forbidden; then there is nothing to forget.
  }
}
