import { pbkdf2Sync } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Challenge } from "./gate";
import { isChallenge, progressOf, solve } from "./proof";
import { type Said, type Share, solveShare } from "./solver";

const challenge = (keyPrefix: string, cost = 2): Challenge => ({
  parameters: {
    algorithm: "PBKDF2/SHA-256",
    cost,
    data: { action: "sign_up", scope: "ab".repeat(16) },
    expiresAt: 2_000_000_000,
    keyLength: 32,
    keyPrefix,
    nonce: "000102030405060708090a0b0c0d0e0f",
    salt: "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
  },
  signature: "ab".repeat(32),
});

/** Another implementation of the same function, as the server checks it. */
function keyOf({ parameters }: Challenge, counter: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(counter);
  const password = Buffer.concat([Buffer.from(parameters.nonce, "hex"), bytes]);
  const salt = Buffer.from(parameters.salt, "hex");
  return pbkdf2Sync(password, salt, parameters.cost, parameters.keyLength, "sha256").toString("hex");
}

interface Answer {
  challenge: Challenge;
  solution: { counter: number };
}

const read = (payload: string) => JSON.parse(atob(payload)) as Answer;

/** A worker of the test's own thread. */
class LocalWorker extends EventTarget {
  static readonly made: LocalWorker[] = [];
  static answering = true;
  ended = false;
  share: Share | null = null;

  constructor() {
    super();
    LocalWorker.made.push(this);
  }

  say(data: Said): void {
    if (!this.ended) this.dispatchEvent(new MessageEvent("message", { data }));
  }

  postMessage(share: Share): void {
    this.share = share;
    if (LocalWorker.answering) void solveShare(share, (said) => this.say(said));
  }

  terminate(): void {
    this.ended = true;
  }
}

beforeEach(() => {
  LocalWorker.made.length = 0;
  LocalWorker.answering = true;
  vi.stubGlobal("Worker", LocalWorker);
});
afterEach(() => vi.unstubAllGlobals());

const never = new AbortController().signal;

describe("the proof of work", () => {
  it.each(["0", "00", "a", "7f", "0a3"])("finds a key that begins with %s", async (keyPrefix) => {
    const given = challenge(keyPrefix);
    const answer = read(await solve(given, never, () => {}));
    expect(answer.challenge).toEqual(given);
    expect(keyOf(given, answer.solution.counter).startsWith(keyPrefix)).toBe(true);
  });

  it("shares the counters out, so that none is tried twice", async () => {
    await solve(challenge("00"), never, () => {});
    const shares = LocalWorker.made.map(({ share }) => share);
    expect(shares.length).toBeGreaterThan(0);
    expect(shares.map((share) => share?.first)).toEqual(shares.map((_, index) => index));
    expect(new Set(shares.map((share) => share?.step))).toEqual(new Set([shares.length]));
  });

  it("ends all workers once one has found it, and when it is called off", async () => {
    await solve(challenge("0"), never, () => {});
    expect(LocalWorker.made.every(({ ended }) => ended)).toBe(true);

    LocalWorker.made.length = 0;
    LocalWorker.answering = false;
    const stop = new AbortController();
    const solving = solve(challenge("0000"), stop.signal, () => {});
    const reason = new DOMException("cancelled", "AbortError");
    stop.abort(reason);
    await expect(solving).rejects.toBe(reason);
    expect(LocalWorker.made.length).toBeGreaterThan(0);
    expect(LocalWorker.made.every(({ ended }) => ended)).toBe(true);
  });

  it("adds up what its workers have tried", async () => {
    LocalWorker.answering = false;
    const seen: number[] = [];
    const given = challenge("00");
    const solving = solve(given, never, (progress) => seen.push(progress));
    const [first, last] = [LocalWorker.made[0], LocalWorker.made.at(-1)];
    first?.say({ tried: 100 });
    last?.say({ tried: 156 });
    last?.say({ counter: 9 });
    expect(read(await solving).solution.counter).toBe(9);
    expect(seen).toEqual([progressOf(given, 100), progressOf(given, 256)]);
    // As many as are expected: 1 - 1/e of such challenges are solved by then.
    expect(seen[1]).toBeCloseTo(0.632, 3);
    expect(progressOf(given, 2560)).toBeLessThan(1);
  });

  it("tells of a worker that can't", async () => {
    LocalWorker.answering = false;
    const solving = solve(challenge("00"), never, () => {});
    LocalWorker.made[0]?.say({ failed: "no such algorithm" });
    await expect(solving).rejects.toMatchObject({ problem: "proofFailed" });
    const loading = solve(challenge("00"), never, () => {});
    LocalWorker.made.at(-1)?.dispatchEvent(new Event("error"));
    await expect(loading).rejects.toMatchObject({ problem: "proofFailed" });
  });

  it("says so where the browser keeps its cryptography to itself", async () => {
    vi.stubGlobal("crypto", {});
    await expect(solve(challenge("0"), never, () => {})).rejects.toMatchObject({ problem: "proofUnsafe" });
    expect(LocalWorker.made).toEqual([]);
  });
});

it("knows a challenge when it sees one", () => {
  expect(isChallenge(challenge("00"))).toBe(true);
  const { parameters, signature } = challenge("00");
  for (const other of [
    null,
    undefined,
    "x",
    {},
    { parameters },
    { signature },
    { parameters: { ...parameters, nonce: 1 }, signature },
    { parameters: { ...parameters, keyPrefix: "" }, signature },
  ])
    expect(isChallenge(other)).toBe(false);
});
