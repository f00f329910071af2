import { ApiError, messagePath, request } from "./client";
import { readEvents, type SseEvent } from "./sse";
import type { Delta, Message } from "./types";

export interface Follower {
  onSnapshot(message: Message): void;
  onDelta(delta: Delta): void;
  onDone(message: Message): void;
  /** The connection is lost and will be made again; called once per failed attempt. */
  onLost(attempt: number): void;
  /** The server refuses the stream (the message is gone, say); no further attempt is made. */
  onRefused(error: ApiError): void;
}

/** A stream without a byte, keep-alives included, for so long is dead. */
const SILENCE_MS_MAX = 45_000;
const BACKOFF_MS = [250, 500, 1000, 2000, 4000] as const;

/** The pause before attempt `attempt` (from 1), at most four seconds, with jitter of a fifth. */
export function backoffMs(attempt: number, random: () => number = Math.random): number {
  const base = BACKOFF_MS[Math.min(attempt, BACKOFF_MS.length) - 1] ?? BACKOFF_MS[0];
  return base * (0.9 + 0.2 * random());
}

export type Pause = (duration_ms: number, signal: AbortSignal) => Promise<void>;

/** Waits, but no longer than until the network comes back or the page is looked at again. */
const pauseOrWake: Pause = (duration_ms, signal) =>
  new Promise((resolve) => {
    const wake = new AbortController();
    const finish = () => {
      clearTimeout(timer);
      wake.abort();
      resolve();
    };
    const timer = setTimeout(finish, duration_ms);
    const options = { signal: wake.signal };
    window.addEventListener("online", finish, options);
    document.addEventListener("visibilitychange", finish, options);
    signal.addEventListener("abort", finish, options);
    if (signal.aborted) finish();
  });

/** Follows an answer until it is done, refused or aborted, rejoining after every drop. */
export async function follow(
  conversation: string,
  message: string,
  follower: Follower,
  signal: AbortSignal,
  pause: Pause = pauseOrWake,
): Promise<void> {
  let attempt = 0;
  while (!signal.aborted) {
    try {
      const done = await readOnce(`${messagePath(conversation, message)}/stream`, signal, (event) => {
        if (event.event === "delta") attempt = 0;
        return dispatch(event, follower);
      });
      if (done) return;
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && isFinal(error.status)) {
        follower.onRefused(error);
        return;
      }
    }
    if (signal.aborted) return;
    attempt += 1;
    follower.onLost(attempt);
    await pause(backoffMs(attempt), signal);
  }
}

const isFinal = (status: number): boolean =>
  status >= 400 && status < 500 && status !== 408 && status !== 429;

/** One connection: true when the last event came. */
async function readOnce(
  path: string,
  signal: AbortSignal,
  onEvent: (event: SseEvent) => boolean,
): Promise<boolean> {
  const connection = new AbortController();
  const abort = () => connection.abort();
  signal.addEventListener("abort", abort);
  let silence = setTimeout(abort, SILENCE_MS_MAX);
  const onActivity = () => {
    clearTimeout(silence);
    silence = setTimeout(abort, SILENCE_MS_MAX);
  };
  try {
    const response = await request(path, {
      headers: { accept: "text/event-stream" },
      signal: connection.signal,
    });
    if (response.body === null) return false;
    for await (const event of readEvents(response.body, onActivity)) {
      if (signal.aborted) return false;
      if (onEvent(event)) return true;
    }
    return false;
  } finally {
    clearTimeout(silence);
    signal.removeEventListener("abort", abort);
  }
}

/** Hands one event on; true for the last one. An event that we don't know is left alone. */
function dispatch(event: SseEvent, follower: Follower): boolean {
  switch (event.event) {
    case "snapshot":
      follower.onSnapshot(JSON.parse(event.data) as Message);
      return false;
    case "delta":
      follower.onDelta(JSON.parse(event.data) as Delta);
      return false;
    case "done":
      follower.onDone(JSON.parse(event.data) as Message);
      return true;
    default:
      return false;
  }
}
