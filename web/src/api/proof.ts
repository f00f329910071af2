import { Trouble } from "../state/account";
import type { Challenge } from "./gate";
import type { Said, Share } from "./solver";

/** The proof of work that the gate may ask for: done in workers, so that the page stays quick, and can be called off. */

/** More of them heat a telephone without being quicker. */
const WORKERS_MAX = 4;

/** The tries that a challenge takes on average: a digit of the key is as good as any of sixteen. */
const expectedTries = ({ parameters }: Challenge): number => 16 ** parameters.keyPrefix.length;

/** How much of the work is likely behind one: the share of such challenges that are solved by so many tries. */
export const progressOf = (challenge: Challenge, tried: number): number =>
  1 - Math.exp(-tried / expectedTries(challenge));

/** Whether what came with a refusal is a challenge that we can solve. */
export function isChallenge(given: unknown): given is Challenge {
  const { parameters, signature } = (given ?? {}) as Partial<Challenge>;
  const texts = [
    parameters?.algorithm,
    parameters?.keyPrefix,
    parameters?.nonce,
    parameters?.salt,
    signature,
  ];
  return texts.every((text) => typeof text === "string" && text !== "");
}

const newWorker = (): Worker => new Worker(new URL("./proof.worker.ts", import.meta.url), { type: "module" });

/** What ALTCHA's widget sends: the challenge as it came, and the counter. Everything in it is ASCII. */
const payloadOf = ({ parameters, signature }: Challenge, counter: number): string =>
  btoa(JSON.stringify({ challenge: { parameters, signature }, solution: { counter } }));

/**
 * Solves a challenge, as it is to be sent; `onProgress` hears from time to time how far it is, from 0 to 1. An abort by `signal`
 * ends it with the signal's reason.
 */
export async function solve(
  challenge: Challenge,
  signal: AbortSignal,
  onProgress: (progress: number) => void,
): Promise<string> {
  signal.throwIfAborted();
  // Browsers keep their cryptography from pages that came in the clear.
  if (globalThis.crypto?.subtle === undefined) throw new Trouble("proofUnsafe");
  const count = Math.max(1, Math.min(WORKERS_MAX, navigator.hardwareConcurrency || 1));
  const workers: Worker[] = [];
  let tried = 0;
  try {
    const counter = await new Promise<number>((resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason), { once: true });
      for (let first = 0; first < count; first += 1) {
        const worker = newWorker();
        workers.push(worker);
        worker.addEventListener("error", () => reject(new Trouble("proofFailed")));
        worker.addEventListener("message", ({ data }: MessageEvent<Said>) => {
          if ("counter" in data) resolve(data.counter);
          else if ("failed" in data) reject(new Trouble("proofFailed"));
          else {
            tried += data.tried;
            onProgress(progressOf(challenge, tried));
          }
        });
        worker.postMessage({ challenge, first, step: count } satisfies Share);
      }
    });
    return payloadOf(challenge, counter);
  } finally {
    for (const worker of workers) worker.terminate();
  }
}
