import { useEffect, useRef, useState } from "react";
import { programs, type UsageSum, type Whose } from "../../api/programs";
import { type Failure, failureOf } from "../../state/admin";
import type { Span } from "../../state/usage";

interface Sums {
  /** With the time that they are of: what is shown may be older than what is asked for. */
  shown: { sums: UsageSum[]; span: Span } | null;
  state: "loading" | "ready";
  failure: Failure | null;
}

/** The sums of a time. As long as others are on their way, those of before stay. */
export function useSums(whose: Whose, span: Span, turn: number): Sums {
  const [sums, setSums] = useState<Sums>({ shown: null, state: "loading", failure: null });
  const wanted = useRef({ whose, span });
  wanted.current = { whose, span };
  const name = JSON.stringify([whose, span, turn]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the name says what is asked for
  useEffect(() => {
    const controller = new AbortController();
    const { whose, span } = wanted.current;
    setSums((known) => ({ ...known, state: "loading", failure: null }));
    programs.sums(whose, span, controller.signal).then(
      ({ sums }) =>
        !controller.signal.aborted && setSums({ shown: { sums, span }, state: "ready", failure: null }),
      (error: unknown) =>
        !controller.signal.aborted && setSums({ shown: null, state: "ready", failure: failureOf(error) }),
    );
    return () => controller.abort();
  }, [name]);
  return sums;
}
