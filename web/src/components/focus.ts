import { useRef } from "react";

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

/** For a dialog that no trigger of its own opens: gives the focus back to what had it before, unless something else is to have it. */
export function useReturnFocus() {
  const before = useRef<Element | null>(null);
  const elsewhere = useRef(false);
  return {
    leave: () => {
      elsewhere.current = true;
    },
    events: {
      onOpenAutoFocus: () => {
        before.current = document.activeElement;
        elsewhere.current = false;
      },
      onCloseAutoFocus: (event: Event) => {
        event.preventDefault();
        if (!elsewhere.current && before.current instanceof HTMLElement) before.current.focus();
      },
    },
  };
}
