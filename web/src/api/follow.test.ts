import { afterEach, describe, expect, it, vi } from "vitest";
import { answer } from "../testing";
import { ApiError } from "./client";
import { backoffMs, type Follower, follow } from "./follow";

type Connection = string | number | "drop";

/** A server that gives one prepared connection after another: a status, a stream's text, or no answer at all. */
function serve(connections: Connection[]) {
  const rest = [...connections];
  const fetched = vi.fn(async () => {
    const next = rest.shift();
    if (next === undefined) throw new Error("more connections than prepared");
    if (next === "drop") throw new TypeError("Failed to fetch");
    if (typeof next === "number") return new Response("{}", { status: next });
    return new Response(next, { headers: { "content-type": "text/event-stream" } });
  });
  vi.stubGlobal("fetch", fetched);
  return fetched;
}

const event = (name: string, data: unknown) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
const partial = answer("m", null, { status: "generating", content: "so far" });
const complete = answer("m", null, { content: "so far, and all" });

async function run(connections: Connection[]) {
  const fetched = serve(connections);
  const calls: unknown[][] = [];
  const pauses: number[] = [];
  const follower: Follower = {
    onSnapshot: (message) => calls.push(["snapshot", message.content]),
    onDelta: (delta) => calls.push(["delta", delta.text]),
    onDone: (message) => calls.push(["done", message.content]),
    onLost: (attempt) => calls.push(["lost", attempt]),
    onRefused: (error) => calls.push(["refused", error.status]),
  };
  const pause = async (duration_ms: number) => {
    pauses.push(duration_ms);
  };
  await follow("c", "m", follower, new AbortController().signal, pause);
  return { calls, pauses, fetched };
}

afterEach(() => vi.unstubAllGlobals());

describe("follow", () => {
  it("hands on the events in order and ends with the last one", async () => {
    const { calls, fetched } = await run([
      event("snapshot", partial) +
        event("delta", { part: "content", text: ", and" }) +
        event("done", complete),
    ]);
    expect(calls).toEqual([
      ["snapshot", "so far"],
      ["delta", ", and"],
      ["done", "so far, and all"],
    ]);
    expect(fetched).toHaveBeenCalledWith("/api/conversations/c/messages/m/stream", expect.anything());
  });

  it("rejoins after a stream that ends without its last event", async () => {
    const { calls } = await run([
      event("snapshot", partial),
      event("snapshot", complete) + event("done", complete),
    ]);
    expect(calls.map(([name]) => name)).toEqual(["snapshot", "lost", "snapshot", "done"]);
  });

  it("waits longer after each failure in a row, and starts afresh after text", async () => {
    const { calls, pauses } = await run([
      "drop",
      503,
      "drop",
      event("snapshot", partial) + event("delta", { part: "content", text: "x" }),
      event("done", complete),
    ]);
    expect(calls.filter(([name]) => name === "lost")).toEqual([
      ["lost", 1],
      ["lost", 2],
      ["lost", 3],
      ["lost", 1],
    ]);
    expect(pauses[1]).toBeGreaterThan(pauses[0] ?? Number.NaN);
    expect(pauses[2]).toBeGreaterThan(pauses[1] ?? Number.NaN);
    expect(pauses[3]).toBeLessThan(pauses[1] ?? Number.NaN);
  });

  it("gives up when the message is gone", async () => {
    expect((await run([404])).calls).toEqual([["refused", 404]]);
  });

  it("rejoins after an event that can't be read", async () => {
    const { calls } = await run(["event: delta\ndata: {broken\n\n", event("done", complete)]);
    expect(calls).toEqual([
      ["lost", 1],
      ["done", "so far, and all"],
    ]);
  });

  it("leaves events alone that it doesn't know", async () => {
    expect((await run([event("weather", {}) + event("done", complete)])).calls).toEqual([
      ["done", "so far, and all"],
    ]);
  });

  it("makes no connection once it is aborted", async () => {
    const fetched = serve([]);
    const follower = { onLost: () => expect.unreachable() } as unknown as Follower;
    await follow("c", "m", follower, AbortSignal.abort());
    expect(fetched).not.toHaveBeenCalled();
  });
});

describe("backoffMs", () => {
  it("grows to four seconds and stays there", () => {
    const middle = () => 0.5;
    expect([1, 2, 3, 4, 5, 6, 100].map((attempt) => backoffMs(attempt, middle))).toEqual([
      250, 500, 1000, 2000, 4000, 4000, 4000,
    ]);
  });
});

describe("ApiError", () => {
  it("knows a server that could not be reached", () => {
    expect(new ApiError(0, "gone").unreachable).toBe(true);
    expect(new ApiError(503, "busy").unreachable).toBe(false);
  });
});
