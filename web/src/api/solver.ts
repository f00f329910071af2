import { solveChallenge } from "altcha-lib";
import { deriveKey } from "altcha-lib/algorithms/web/pbkdf2";
import type { Challenge } from "./gate";

/** What one of several workers is to do: each tries every `step`-th counter from `first` on. */
export interface Share {
  challenge: Challenge;
  first: number;
  step: number;
}

/** What a worker says: how many it has tried since it last said so, the solution, or that it can't. */
export type Said = { tried: number } | { counter: number } | { failed: string };

const TOLD_EVERY_MS = 100;
/** Whoever waits for it ends it; the library's own limit would be shorter than a slow telephone takes. */
const NO_LIMIT = 0;

/** Tries one share, and says how it gets on. */
export async function solveShare(
  { challenge, first, step }: Share,
  say: (said: Said) => void,
): Promise<void> {
  let tried = 0;
  let told_ms = performance.now();
  const solution = await solveChallenge({
    challenge,
    counterStart: first,
    counterStep: step,
    timeout: NO_LIMIT,
    deriveKey: (parameters, salt, password) => {
      tried += 1;
      const now_ms = performance.now();
      if (now_ms - told_ms >= TOLD_EVERY_MS) {
        say({ tried });
        tried = 0;
        told_ms = now_ms;
      }
      return deriveKey(parameters, salt, password);
    },
  });
  if (solution !== null) say({ counter: solution.counter });
}
