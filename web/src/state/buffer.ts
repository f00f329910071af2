import type { Delta } from "../api/types";

/** Longer answers are drawn less often, so that the page keeps up with the stream whatever its length. */
export function drawPause_ms(length: number): number {
  return Math.min(160, Math.max(32, length / 250));
}

/** Collects the deltas of one answer and hands them on together. */
export class DeltaBuffer {
  #waiting: Delta[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #flush: (deltas: Delta[]) => void;
  readonly #pause_ms: () => number;

  constructor(flush: (deltas: Delta[]) => void, pause_ms: () => number) {
    this.#flush = flush;
    this.#pause_ms = pause_ms;
  }

  push(delta: Delta): void {
    const last = this.#waiting.at(-1);
    if (last?.part === delta.part) last.text += delta.text;
    else this.#waiting.push({ ...delta });
    this.#timer ??= setTimeout(() => this.flush(), this.#pause_ms());
  }

  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const deltas = this.#waiting;
    this.#waiting = [];
    if (deltas.length > 0) this.#flush(deltas);
  }

  /** Forgets what waits: a snapshot holds it already. */
  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#waiting = [];
  }
}
