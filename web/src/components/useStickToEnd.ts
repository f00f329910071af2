import { useCallback, useEffect, useRef, useState } from "react";

/** Nearer than this to the end counts as at the end, in CSS pixels. */
const END_PX = 32;
/** How far below the upper edge a message that was looked for is put, in CSS pixels. */
const HELD_TOP_PX = 16;
/** How long after the last word late arrivals (colours, formulas) are still followed. */
const SETTLING_MS = 1500;

/**
 * Keeps the end of a growing text in sight, until the reader scrolls up; then lets go, until they are back at the end.
 * `active` says that text is coming in; at other times the page stays where it is.
 */
export function useStickToEnd(active: boolean) {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const stuck = useRef(true);
  const following = useRef(true);
  const growing = useRef(active);
  const held = useRef<Element | null>(null);
  const [atEnd, setAtEnd] = useState(true);

  const distance = useCallback(() => {
    const element = scroller.current;
    return element === null ? 0 : element.scrollHeight - element.clientHeight - element.scrollTop;
  }, []);

  const toEnd = useCallback((smooth = false) => {
    const element = scroller.current;
    if (element === null) return;
    stuck.current = true;
    const still = !smooth || window.matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollTo({ top: element.scrollHeight, behavior: still ? "instant" : "smooth" });
  }, []);

  const align = useCallback(() => {
    const element = scroller.current;
    if (element === null || held.current === null) return;
    // Not `scrollIntoView`, which moves all that is around the scroller too.
    const from_px = held.current.getBoundingClientRect().top - element.getBoundingClientRect().top;
    element.scrollTop += from_px - HELD_TOP_PX;
  }, []);

  /** Keeps the beginning of a message in sight, whatever is drawn above it, until `release` or until the reader moves. */
  const hold = useCallback(
    (message: Element) => {
      stuck.current = false;
      held.current = message;
      align();
    },
    [align],
  );

  const release = useCallback(() => {
    held.current = null;
  }, []);

  const follow = useCallback((duration_ms: number) => {
    following.current = true;
    return setTimeout(() => {
      following.current = growing.current;
    }, duration_ms);
  }, []);

  useEffect(() => {
    growing.current = active;
    if (active) {
      following.current = true;
      return;
    }
    const timer = follow(SETTLING_MS);
    return () => clearTimeout(timer);
  }, [active, follow]);

  useEffect(() => {
    const element = scroller.current;
    const inner = content.current;
    if (element === null || inner === null) return;
    let top = element.scrollTop;
    const onScroll = () => {
      const near = distance() <= END_PX;
      if (near) stuck.current = true;
      else if (element.scrollTop < top) stuck.current = false;
      top = element.scrollTop;
      setAtEnd(near);
    };
    const onWheel = (event: WheelEvent) => {
      if (event.deltaY < 0 && element.scrollHeight > element.clientHeight) stuck.current = false;
    };
    const moves = ["wheel", "touchmove", "pointerdown", "keydown"];
    for (const name of moves) element.addEventListener(name, release, { passive: true });
    const observer = new ResizeObserver(() => {
      if (held.current !== null) {
        align();
        top = element.scrollTop;
      } else if (stuck.current && following.current) {
        element.scrollTop = element.scrollHeight;
        // A text that shrank has moved the page up, and not the reader.
        top = element.scrollTop;
      }
      setAtEnd(distance() <= END_PX);
    });
    observer.observe(inner);
    observer.observe(element);
    element.addEventListener("scroll", onScroll, { passive: true });
    element.addEventListener("wheel", onWheel, { passive: true });
    return () => {
      observer.disconnect();
      element.removeEventListener("scroll", onScroll);
      element.removeEventListener("wheel", onWheel);
      for (const name of moves) element.removeEventListener(name, release);
    };
  }, [distance, align, release]);

  return { scroller, content, atEnd, toEnd, hold, release, follow };
}
