import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Delta } from "../api/types";
import { DeltaBuffer, drawPause_ms } from "./buffer";

const content = (text: string): Delta => ({ part: "content", text });
const reasoning = (text: string): Delta => ({ part: "reasoning", text });

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("DeltaBuffer", () => {
  it("joins what comes in between two drawings", () => {
    const flushed: Delta[][] = [];
    const buffer = new DeltaBuffer(
      (deltas) => flushed.push(deltas),
      () => 50,
    );
    for (const delta of [reasoning("a"), reasoning("b"), content("c"), content("d")]) buffer.push(delta);
    vi.advanceTimersByTime(49);
    expect(flushed).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(flushed).toEqual([[reasoning("ab"), content("cd")]]);
    buffer.push(content("e"));
    vi.advanceTimersByTime(50);
    expect(flushed[1]).toEqual([content("e")]);
  });

  it("doesn't change the deltas that it was given", () => {
    const buffer = new DeltaBuffer(
      () => {},
      () => 50,
    );
    const first = content("a");
    buffer.push(first);
    buffer.push(content("b"));
    expect(first.text).toBe("a");
  });

  it("forgets what waits when cleared", () => {
    const flush = vi.fn();
    const buffer = new DeltaBuffer(flush, () => 50);
    buffer.push(content("a"));
    buffer.clear();
    vi.advanceTimersByTime(100);
    expect(flush).not.toHaveBeenCalled();
  });
});

describe("drawPause_ms", () => {
  it("is two frames for short answers and grows with their length, to a limit", () => {
    expect([0, 8000, 20_000, 1e6].map(drawPause_ms)).toEqual([32, 32, 80, 160]);
  });
});
