import { act, cleanup, render } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { useStickToEnd } from "./useStickToEnd";

const CLIENT_HEIGHT = 400;
let grown = () => {};
let stick: ReturnType<typeof useStickToEnd>;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal(
    "ResizeObserver",
    class {
      constructor(onResize: () => void) {
        grown = onResize;
      }
      observe() {}
      disconnect() {}
    },
  );
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

function Scroller({ active }: { active: boolean }) {
  stick = useStickToEnd(active);
  return (
    <div ref={stick.scroller}>
      <div ref={stick.content} />
    </div>
  );
}

/** A scroller, of which the test says how high its content is; as in a browser, its place is never beyond the end. */
function scrollerOf(active: boolean) {
  const { container, rerender } = render(<Scroller active={active} />);
  const element = container.firstElementChild as HTMLElement;
  let height = 1000;
  let top = 600;
  Object.defineProperties(element, {
    clientHeight: { get: () => CLIENT_HEIGHT },
    scrollHeight: { get: () => height },
    scrollTop: {
      get: () => Math.min(top, height - CLIENT_HEIGHT),
      set: (value: number) => {
        top = Math.min(value, height - CLIENT_HEIGHT);
      },
    },
  });
  act(() => grown());
  return {
    rerender,
    become: (value: number) => {
      height = value;
      top = Math.min(top, height - CLIENT_HEIGHT);
    },
    moveTo: (value: number) => {
      top = value;
      act(() => void element.dispatchEvent(new Event("scroll")));
    },
    scrolled: () => act(() => void element.dispatchEvent(new Event("scroll"))),
    distance: () => height - CLIENT_HEIGHT - element.scrollTop,
  };
}

it("follows a growing text, however long that takes", () => {
  const scroller = scrollerOf(true);
  stick.follow(2000);
  act(() => void vi.advanceTimersByTime(5000));
  scroller.become(1200);
  act(() => grown());
  expect(scroller.distance()).toBe(0);
  scroller.rerender(<Scroller active={false} />);
  act(() => void vi.advanceTimersByTime(5000));
  scroller.become(1400);
  act(() => grown());
  expect(scroller.distance()).toBe(200);
});

it("lets go when the reader scrolls up, and not when the text shrinks", () => {
  const scroller = scrollerOf(true);
  scroller.scrolled();
  scroller.become(960);
  act(() => grown());
  // Before the page hears of its move, there is more text again.
  scroller.become(1100);
  scroller.scrolled();
  act(() => grown());
  expect(scroller.distance()).toBe(0);
  scroller.moveTo(500);
  scroller.become(1300);
  act(() => grown());
  expect(scroller.distance()).toBe(400);
});

it("holds a message in its place whatever is drawn above it, until the reader moves", () => {
  const scroller = scrollerOf(false);
  const message = document.createElement("p");
  const element = document.querySelector("div > div > div")?.parentElement as HTMLElement;
  let above = 300;
  message.getBoundingClientRect = () => new DOMRect(0, above - element.scrollTop, 1, 1);
  const from = () => message.getBoundingClientRect().top;
  stick.hold(message);
  expect(from()).toBe(16);
  above = 900;
  scroller.become(1600);
  act(() => grown());
  expect(from()).toBe(16);
  act(() => void element.dispatchEvent(new Event("wheel")));
  above = 1000;
  act(() => grown());
  expect(from()).toBe(116);
  stick.hold(message);
  stick.release();
  above = 1100;
  act(() => grown());
  expect(from()).toBe(116);
});
