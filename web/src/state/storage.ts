/** What the browser keeps for us. Storage may be forbidden or full; the app then works without it. */

export function recall(key: string, storage: () => Storage = () => localStorage): string | null {
  try {
    return storage().getItem(`cachalot.${key}`);
  } catch {
    return null;
  }
}

export function remember(
  key: string,
  value: string | null,
  storage: () => Storage = () => localStorage,
): void {
  try {
    if (value === null) storage().removeItem(`cachalot.${key}`);
    else storage().setItem(`cachalot.${key}`, value);
  } catch {
    // See above.
  }
}

const session = (): Storage => sessionStorage;

/** Before the keys of what belongs to a user rather than to the browser. */
const OWNED = "of.";

let owner = "";

/** Says whose things are kept from here on; `""` is nobody. What another user left behind goes. */
export function setOwner(user: string): void {
  owner = user;
  if (user !== "") forgetOwned((key) => !key.startsWith(`cachalot.${OWNED}${user}.`));
}

/** Forgets what is kept of users, whoever they are, and of which `gone` is true. */
export function forgetOwned(gone: (key: string) => boolean = () => true): void {
  for (const storage of [() => localStorage, session]) {
    try {
      for (const key of Object.keys(storage())) {
        if (key.startsWith(`cachalot.${OWNED}`) && gone(key)) storage().removeItem(key);
      }
    } catch {
      // See above.
    }
  }
}

const owned = (key: string): string => `${OWNED}${owner}.${key}`;

export const recallOwn = (key: string): string | null => recall(owned(key));

export const rememberOwn = (key: string, value: string | null): void => remember(owned(key), value);

const draftKey = (conversation: string | null): string => owned(`draft.${conversation ?? "new"}`);

export const recallDraft = (conversation: string | null): string =>
  recall(draftKey(conversation), session) ?? "";

export const rememberDraft = (conversation: string | null, draft: string): void =>
  remember(draftKey(conversation), draft === "" ? null : draft, session);
