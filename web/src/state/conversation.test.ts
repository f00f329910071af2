import { describe, expect, it } from "vitest";
import { answer, conversation, message } from "../testing";
import * as open from "./conversation";

const running = answer("a", "q", { status: "generating", content: "" });
const started = open.follow(open.loadingOpen("c"), message("q", null), running);

describe("a running answer", () => {
  it("ends the shown path as soon as it is asked for", () => {
    const pending = { ...open.newOpen, pending: { content: "q", parent_id: null } };
    const asked = open.follow(pending, message("q", null), running);
    expect(open.shownPath(asked)).toEqual(["q", "a"]);
    expect(asked.pending).toBeNull();
    expect(open.generating(asked)).toEqual(["a"]);
  });

  it("collects reasoning and text, and the time of the reasoning", () => {
    const joined = open.snapshot(started, running, 1000);
    const thinking = open.append(joined, "a", [{ part: "reasoning", text: "hm" }], 2000);
    expect(thinking.live["a"]).toMatchObject({ reasoningFrom_ms: 2000, reasoningTo_ms: null });
    const writing = open.append(
      thinking,
      "a",
      [
        { part: "reasoning", text: "m" },
        { part: "content", text: "Yes" },
        { part: "content", text: "." },
      ],
      5000,
    );
    expect(writing.messages.byId["a"]).toMatchObject({ reasoning: "hmm", content: "Yes." });
    expect(writing.live["a"]).toMatchObject({ reasoningFrom_ms: 2000, reasoningTo_ms: 5000 });
  });

  it("is replaced by a snapshot and not added to", () => {
    const some = open.append(started, "a", [{ part: "content", text: "lost wor" }], 0);
    const rejoined = open.snapshot(open.lost(some, "a"), { ...running, content: "lost words" }, 0);
    expect(rejoined.messages.byId["a"]?.content).toBe("lost words");
    expect(rejoined.live["a"]?.link).toBe("joined");
  });

  it("has thought as long as the server says, and on from there", () => {
    const thinking = { ...running, reasoning: "hm", reasoning_ms: 3000 };
    const joined = open.snapshot(started, thinking, 10_000);
    expect(joined.live["a"]).toMatchObject({ reasoningFrom_ms: 7000, reasoningTo_ms: null });
    const writing = open.append(joined, "a", [{ part: "content", text: "Yes" }], 12_000);
    expect(writing.live["a"]).toMatchObject({ reasoningFrom_ms: 7000, reasoningTo_ms: 12_000 });
    const late = open.snapshot(joined, { ...thinking, reasoning_ms: 4000, content: "Yes" }, 60_000);
    expect(late.live["a"]).toMatchObject({ reasoningFrom_ms: 56_000, reasoningTo_ms: 60_000 });
  });

  it("shows a lost connection and keeps its text", () => {
    const some = open.lost(open.append(started, "a", [{ part: "content", text: "half" }], 0), "a");
    expect(some.live["a"]?.link).toBe("lost");
    expect(some.messages.byId["a"]?.content).toBe("half");
  });

  it("takes its final form from the last event", () => {
    const ended = open.done(started, answer("a", "q", { status: "stopped", content: "all" }));
    expect(ended.live).toEqual({});
    expect(ended.messages.byId["a"]).toMatchObject({ status: "stopped", content: "all" });
  });

  it("ignores text for a message that it doesn't know", () => {
    expect(open.append(started, "other", [{ part: "content", text: "x" }], 0)).toBe(started);
  });
});

describe("loading", () => {
  const tree = {
    conversation: conversation("c", 1),
    messages: [message("q", null), answer("a", "q"), answer("b", "q"), message("r", "a")],
  };

  it("shows the newest branch at first", () => {
    const loaded = open.loaded(open.loadingOpen("c"), tree);
    expect(loaded.state).toBe("ready");
    expect(open.shownPath(loaded)).toEqual(["q", "a", "r"]);
  });

  it("stays on the branch that is shown", () => {
    const shown = open.showVersion(open.loaded(open.loadingOpen("c"), tree), "b");
    expect(open.shownPath(shown)).toEqual(["q", "b"]);
    const again = open.loaded(shown, { ...tree, messages: [...tree.messages, answer("s", "r")] });
    expect(open.shownPath(again)).toEqual(["q", "b"]);
  });

  it("follows the shown branch when another page went on with it", () => {
    const shown = open.loaded(open.loadingOpen("c"), tree);
    const again = open.loaded(shown, { ...tree, messages: [...tree.messages, answer("s", "r")] });
    expect(open.shownPath(again)).toEqual(["q", "a", "r", "s"]);
  });

  it("keeps what has streamed in meanwhile", () => {
    const streaming = open.append(started, "a", [{ part: "content", text: "newer" }], 0);
    const again = open.loaded(streaming, {
      conversation: conversation("c", 1),
      messages: [message("q", null), { ...running, content: "old" }],
    });
    expect(again.messages.byId["a"]?.content).toBe("newer");
  });

  it("believes the server that an answer has ended", () => {
    const streaming = open.append(started, "a", [{ part: "content", text: "half" }], 0);
    const again = open.loaded(streaming, {
      conversation: conversation("c", 1),
      messages: [message("q", null), answer("a", "q", { content: "whole" })],
    });
    expect(again.messages.byId["a"]?.content).toBe("whole");
  });

  it("shows no system message", () => {
    const loaded = open.loaded(open.loadingOpen("c"), {
      conversation: conversation("c", 1),
      messages: [message("s", null, { role: "system" }), message("q", "s")],
    });
    expect(open.shownPath(loaded)).toEqual(["q"]);
  });
});
