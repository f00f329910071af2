import { useEffect, useState } from "react";

interface Tip {
  text: string;
  x: number;
  y: number;
  /** The most that fits, in CSS pixels. */
  width: number;
  below: boolean;
}

const MARGIN = 8;
const WIDTH_MAX = 320;

/** One tip for all elements with `data-tip`, on hover and on keyboard focus, and with `data-tip-on-press` on a press. Their names say the same to screen readers. */
export function Tips() {
  const [tip, setTip] = useState<Tip | null>(null);
  useEffect(() => {
    const show = (event: Event) => {
      const target = event.target instanceof Element ? event.target.closest("[data-tip]") : null;
      const text = target?.getAttribute("data-tip");
      if (target === null || text === null || text === undefined) return setTip(null);
      if (event.type === "focusin" && !target.matches(":focus-visible")) return;
      if (event.type === "click" && !target.hasAttribute("data-tip-on-press")) return;
      const box = target.getBoundingClientRect();
      const below = box.top < 60;
      const x = Math.min(Math.max(box.left + box.width / 2, 60), window.innerWidth - 60);
      const width = Math.min(WIDTH_MAX, 2 * Math.min(x, window.innerWidth - x) - MARGIN);
      setTip({ text, x, y: below ? box.bottom + MARGIN : box.top - MARGIN, width, below });
    };
    const hide = () => setTip(null);
    const touchless = window.matchMedia("(hover: hover)").matches;
    const shows = touchless ? ["pointerover", "focusin", "click"] : ["focusin", "click"];
    const hides = ["pointerdown", "keydown", "scroll", "focusout"];
    for (const name of shows) document.addEventListener(name, show);
    for (const name of hides) document.addEventListener(name, hide, true);
    return () => {
      for (const name of shows) document.removeEventListener(name, show);
      for (const name of hides) document.removeEventListener(name, hide, true);
    };
  }, []);
  if (tip === null) return null;
  return (
    <div
      className="tip"
      data-below={tip.below}
      style={{ left: tip.x, top: tip.y, maxWidth: tip.width }}
      aria-hidden="true"
    >
      {tip.text}
    </div>
  );
}
