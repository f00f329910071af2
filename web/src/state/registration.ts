import { type Admission, ApiError, type NewUser } from "../api/client";
import { isChallenge, solve } from "../api/proof";
import type { SecondFactor } from "../api/security";
import { login, signUp } from "./session";

/** One that is late, or was overtaken by another level, is followed by another challenge. */
const PROOFS_MAX = 3;
/** While very many come, the server has no time to answer each. */
const TRIES_MAX = 3;
const BETWEEN_TRIES_MS = 1000;

export interface Proof {
  signal: AbortSignal;
  /** From 0 to 1 while work is being done, null once it is. */
  onProgress: (progress: number | null) => void;
}

/**
 * Asks for an account, and does the work that the server may ask for first. What comes of it is null for an account that one is
 * signed in with by then.
 */
export const register = (user: NewUser, shown: Admission, proof: Proof): ReturnType<typeof signUp> =>
  withProof((solution) => signUp({ ...user, ...shown, ...solution }), proof);

/** Signs in, and does the work that the server may ask for first where passwords are being tried. */
export const signIn = (name: string, password: string, proof: Proof): Promise<SecondFactor | null> =>
  withProof(({ challenge }) => again(() => login(name, password, challenge), proof.signal), proof);

/** Asks again while nobody answers, for a moment. What is asked may be asked twice. */
async function again<T>(ask: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof ApiError && error.unreachable) || tries === TRIES_MAX) throw error;
      await new Promise((resolve) => setTimeout(resolve, BETWEEN_TRIES_MS));
      signal.throwIfAborted();
    }
  }
}

async function withProof<T>(
  ask: (solution: Admission) => Promise<T>,
  { signal, onProgress }: Proof,
): Promise<T> {
  let solution: Admission = {};
  for (let proofs = 0; ; proofs += 1) {
    try {
      return await ask(solution);
    } catch (error) {
      if (!(error instanceof ApiError && isChallenge(error.challenge)) || proofs === PROOFS_MAX) throw error;
      onProgress(0);
      solution = { challenge: await solve(error.challenge, signal, onProgress) };
      onProgress(null);
    }
  }
}
