import { useEffect, useState } from "react";
import { ApiError } from "../../api/client";
import type { Found } from "../../api/data";
import { search } from "../../state/search";

export interface Messages {
  state: "idle" | "searching" | "ready" | "unreachable" | "busy";
  results: readonly Found[];
  more: boolean;
}

const nothing: Messages = { state: "idle", results: [], more: false };

/** What is said with the words of `query`; what was found before stays until there is something new. */
export function useFound(query: string): Messages {
  const [found, setFound] = useState<Messages>(nothing);
  useEffect(() => {
    if (query === "") {
      setFound(nothing);
      return;
    }
    const controller = new AbortController();
    setFound((before) => ({ ...before, state: "searching" }));
    search(query, controller.signal).then(
      ({ results, more }) => {
        if (!controller.signal.aborted) setFound({ state: "ready", results, more });
      },
      (error: unknown) => {
        if (controller.signal.aborted) return;
        const busy = error instanceof ApiError && !error.unreachable;
        setFound({ ...nothing, state: busy ? "busy" : "unreachable" });
      },
    );
    return () => controller.abort();
  }, [query]);
  return found;
}
