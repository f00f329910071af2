/** Server-sent events over fetch: EventSource can't be aborted cleanly nor tell a refusal from a lost connection. */

export interface SseEvent {
  /** `message` where the stream names none. */
  event: string;
  data: string;
}

/** The longest event taken, in UTF-16 units; a longer one means that the stream is not ours. */
const EVENT_LENGTH_MAX = 64 * 1024 * 1024;

/** Turns text, cut anywhere, into events. */
export class SseParser {
  #line = "";
  #event = "";
  #data: string[] = [];
  #dataLength = 0;
  #skipLineFeed = false;
  #atStart = true;

  push(text: string): SseEvent[] {
    const events: SseEvent[] = [];
    let rest = text;
    if (this.#atStart && rest !== "") {
      this.#atStart = false;
      if (rest.startsWith("\u{feff}")) rest = rest.slice(1);
    }
    // A CRLF may be cut between its two characters.
    if (this.#skipLineFeed && rest !== "") {
      this.#skipLineFeed = false;
      if (rest.startsWith("\n")) rest = rest.slice(1);
    }
    let start = 0;
    for (let at = 0; at < rest.length; at += 1) {
      const character = rest[at];
      if (character !== "\n" && character !== "\r") continue;
      this.#endLine(this.#line + rest.slice(start, at), events);
      this.#line = "";
      if (character === "\r") {
        if (at + 1 === rest.length) this.#skipLineFeed = true;
        else if (rest[at + 1] === "\n") at += 1;
      }
      start = at + 1;
    }
    this.#line += rest.slice(start);
    this.#bound(this.#line.length);
    return events;
  }

  #endLine(line: string, events: SseEvent[]): void {
    if (line === "") {
      if (this.#data.length > 0) {
        events.push({ event: this.#event === "" ? "message" : this.#event, data: this.#data.join("\n") });
      }
      this.#event = "";
      this.#data = [];
      this.#dataLength = 0;
      return;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "event") this.#event = value;
    if (field === "data") {
      this.#data.push(value);
      this.#bound(value.length);
      this.#dataLength += value.length;
    }
  }

  #bound(more: number): void {
    if (this.#dataLength + more > EVENT_LENGTH_MAX) {
      throw new Error(`an event of the stream is longer than ${EVENT_LENGTH_MAX} characters`);
    }
  }
}

/** Reads events until the stream ends. `onActivity` is called for every chunk, so also for keep-alive comments. */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  onActivity: () => void = () => {},
): AsyncGenerator<SseEvent, void, undefined> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  const parser = new SseParser();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      onActivity();
      yield* parser.push(decoder.decode(value, { stream: true }));
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}
