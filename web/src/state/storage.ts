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

export const recallDraft = (conversation: string | null): string =>
  recall(`draft.${conversation ?? "new"}`, session) ?? "";

export const rememberDraft = (conversation: string | null, draft: string): void =>
  remember(`draft.${conversation ?? "new"}`, draft === "" ? null : draft, session);
