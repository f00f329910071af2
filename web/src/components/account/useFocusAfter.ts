import { type RefObject, useEffect, useState } from "react";

/**
 * Gives a function that moves the focus to `target` once the page has been drawn anew. What had the focus, such as the button of
 * something that is removed, has gone with that, and so has the dialog that would have kept it.
 */
export function useFocusAfter(target: RefObject<HTMLElement | null>): () => void {
  const [asked, setAsked] = useState(0);
  useEffect(() => {
    if (asked > 0) target.current?.focus();
  }, [asked, target]);
  return () => setAsked((count) => count + 1);
}
