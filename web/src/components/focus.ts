/** Where a finger writes, a focused field opens the keyboard over half of the page. */
export const byFinger = (): boolean => window.matchMedia("(pointer: coarse) and (hover: none)").matches;

/** Gives the focus to the message field, when what had it is about to leave the page. */
export function focusComposer(): void {
  if (!byFinger()) document.getElementById("composer")?.focus();
}

/** Gives the focus to what `selector` finds once the page has been drawn anew. */
export function focusNext(selector: string): void {
  requestAnimationFrame(() => document.querySelector<HTMLElement>(selector)?.focus());
}
