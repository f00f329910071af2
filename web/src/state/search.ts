import { ApiError } from "../api/client";
import { data, type FoundPage } from "../api/data";
import type { Conversation } from "../api/types";

/** Finding one's conversations again: by their titles, which the page has, and by what is said in them, which the server has. */

/** More is not asked for; a search with more words finds less. */
const RESULTS_MAX = 50;
/** The server takes no longer ones. */
export const QUERY_LENGTH_MAX = 200;

/** As the server compares: whatever the width and the case. */
const folded = (text: string): string => text.normalize("NFKC").toLowerCase();

/** The conversations whose titles have every word of the query, in their order. */
export function titled(list: readonly Conversation[], query: string): Conversation[] {
  const words = folded(query).split(/\s+/u).filter(Boolean);
  return list.filter(({ title }) => {
    const text = folded(title);
    return words.every((word) => text.includes(word));
  });
}

export interface Piece {
  text: string;
  marked: boolean;
}

/** A snippet in pieces, marked and not; marks that overlap or lie outside are read as far as they make sense. */
export function piecesOf(snippet: string, marks: readonly (readonly [number, number])[]): Piece[] {
  const pieces: Piece[] = [];
  const add = (text: string, marked: boolean) => {
    if (text !== "") pieces.push({ text, marked });
  };
  let at = 0;
  for (const [start, length] of marks.toSorted(([a], [b]) => a - b)) {
    const from = Math.max(at, start);
    const to = Math.min(snippet.length, start + length);
    if (to <= from) continue;
    add(snippet.slice(at, from), false);
    add(snippet.slice(from, to), true);
    at = to;
  }
  add(snippet.slice(at), false);
  return pieces;
}

const RUNNING_PAUSE_MS = 400;
const RUNNING_TRIES_MAX = 20;

type Pause = (duration_ms: number) => Promise<void>;
const wait: Pause = (duration_ms) => new Promise((resolve) => setTimeout(resolve, duration_ms));

/**
 * What the server finds. It searches for one user once at a time, and may still be at the search of a letter ago, or at another
 * tab's: then it is asked again a little later, until `signal` says that nobody waits any more.
 */
export async function search(query: string, signal: AbortSignal, pause: Pause = wait): Promise<FoundPage> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await data.search(query, RESULTS_MAX, signal);
    } catch (error) {
      const running = error instanceof ApiError && error.code === "search_running";
      if (!running || tries === RUNNING_TRIES_MAX) throw error;
    }
    await pause(RUNNING_PAUSE_MS);
    signal.throwIfAborted();
  }
}
