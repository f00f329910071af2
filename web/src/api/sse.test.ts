import { describe, expect, it } from "vitest";
import { readEvents, type SseEvent, SseParser } from "./sse";

const stream =
  ': keep-alive\n\nevent: snapshot\ndata: {"a":1}\n\nevent: delta\r\ndata: first\r\ndata:second\r\n\r\n' +
  "id: 7\nretry: 10\ndata: 鲸\n\nevent: empty\n\n";
const expected: SseEvent[] = [
  { event: "snapshot", data: '{"a":1}' },
  { event: "delta", data: "first\nsecond" },
  { event: "message", data: "鲸" },
];

describe("SseParser", () => {
  it("reads the same events wherever the text is cut", () => {
    for (let first = 0; first <= stream.length; first += 1) {
      for (let second = first; second <= stream.length; second += 1) {
        const parser = new SseParser();
        const events = [stream.slice(0, first), stream.slice(first, second), stream.slice(second)].flatMap(
          (text) => parser.push(text),
        );
        expect(events).toEqual(expected);
      }
    }
  });

  it("reads every kind of line end, and mixtures of them", () => {
    for (const end of ["\n", "\r", "\r\n"]) {
      expect(new SseParser().push(`data: a${end}data: b${end}${end}data: c${end}${end}`)).toEqual([
        { event: "message", data: "a\nb" },
        { event: "message", data: "c" },
      ]);
    }
  });

  it("drops a byte order mark at the start only", () => {
    const parser = new SseParser();
    expect(parser.push("\u{feff}data: \u{feff}x\n\n")).toEqual([{ event: "message", data: "\u{feff}x" }]);
  });

  it("takes one space off a value and no more, and knows a field without a colon", () => {
    expect(new SseParser().push("data:  two\ndata\n\n")).toEqual([{ event: "message", data: " two\n" }]);
  });

  it("gives nothing for an event that is not complete", () => {
    expect(new SseParser().push("event: done\ndata: {}\n")).toEqual([]);
  });

  it("forgets the name of an event without data", () => {
    expect(new SseParser().push("event: lost\n\ndata: x\n\n")).toEqual([{ event: "message", data: "x" }]);
  });
});

describe("readEvents", () => {
  it("joins characters that are cut between their bytes, and reports every chunk", async () => {
    const bytes = new TextEncoder().encode(stream);
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
        controller.close();
      },
    });
    let chunks = 0;
    const events: SseEvent[] = [];
    for await (const event of readEvents(body, () => (chunks += 1))) events.push(event);
    expect(events).toEqual(expected);
    expect(chunks).toBe(bytes.length);
  });

  it("cancels the stream when its reader leaves early", async () => {
    let cancelled = false;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode("data: again\n\n")),
      cancel: () => {
        cancelled = true;
      },
    });
    for await (const event of readEvents(body)) {
      expect(event.data).toBe("again");
      break;
    }
    expect(cancelled).toBe(true);
  });
});
