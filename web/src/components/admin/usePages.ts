import { useCallback, useEffect, useRef, useState } from "react";
import { type Failure, failureOf } from "../../state/admin";

export interface Page<Item> {
  items: readonly Item[];
  /** Where the next page begins, or null after the last. */
  next: string | null;
  total: number | null;
}

export interface Pages<Item> extends Page<Item> {
  state: "loading" | "ready" | "more";
  failure: Failure | null;
}

/** A list that is read page by page; for another `key` it begins anew. */
export function usePages<Item>(
  key: string,
  read: (key: string, after: string | null, signal: AbortSignal) => Promise<Page<Item>>,
) {
  const [pages, setPages] = useState<Pages<Item>>({
    items: [],
    next: null,
    total: null,
    state: "loading",
    failure: null,
  });
  const under = useRef(new AbortController());
  const reader = useRef(read);
  const load = useCallback(async (wanted: string, after: string | null) => {
    under.current.abort();
    under.current = new AbortController();
    const { signal } = under.current;
    setPages((known) => ({ ...known, state: after === null ? "loading" : "more", failure: null }));
    try {
      const page = await reader.current(wanted, after, signal);
      if (signal.aborted) return;
      setPages((known) => ({
        ...page,
        items: after === null ? page.items : [...known.items, ...page.items],
        state: "ready",
        failure: null,
      }));
    } catch (error) {
      if (signal.aborted) return;
      setPages((known) => ({ ...known, state: "ready", failure: failureOf(error) }));
    }
  }, []);
  useEffect(() => {
    void load(key, null);
    return () => under.current.abort();
  }, [load, key]);
  return {
    ...pages,
    anew: () => void load(key, null),
    more: () => void load(key, pages.next),
    again: () => void load(key, pages.items.length === 0 ? null : pages.next),
  };
}
