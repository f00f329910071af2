import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startLanguages } from "../i18n";
import type { Live } from "../state/conversation";
import { newOpen } from "../state/conversation";
import { useStore } from "../state/store";
import { messagesOf } from "../state/tree";
import { answer } from "../testing";
import { AssistantMessage } from "./AssistantMessage";
import { Reasoning } from "./Reasoning";

beforeAll(startLanguages);
afterEach(cleanup);

const head = () => screen.getByRole("button", { name: /^Th(?:ought|inking)/ });
const isOpen = () => head().getAttribute("aria-expanded") === "true";

describe("Reasoning", () => {
  const running = <Reasoning text="Let me **see**." running duration_ms={null} />;
  const over = <Reasoning text="Let me **see**." running={false} duration_ms={3400} />;

  it("is open while the model thinks, and folds when it answers", () => {
    const { container, rerender } = render(running);
    expect(head().textContent).toBe("Thinking…");
    expect(isOpen()).toBe(true);
    expect(container.querySelector(".reasoning-text strong")?.textContent).toBe("see");
    rerender(over);
    expect(head().textContent).toBe("Thought for 3 seconds");
    expect(isOpen()).toBe(false);
    expect(container.querySelector(".reasoning-text")?.textContent).toBe("");
    fireEvent.click(head());
    expect(isOpen()).toBe(true);
    expect(container.querySelector(".reasoning-text")?.textContent).toBe("Let me see.");
  });

  it("stays as the reader wants it", () => {
    const { rerender } = render(running);
    fireEvent.click(head());
    expect(isOpen()).toBe(false);
    fireEvent.click(head());
    rerender(over);
    expect(isOpen()).toBe(true);
  });

  it.each([
    [null, "Thought"],
    [400, "Thought for a moment"],
    [1000, "Thought for 1 second"],
    [59_400, "Thought for 59 seconds"],
    [125_000, "Thought for 2 min 5 s"],
  ])("names a duration of %j ms", (duration_ms, expected) => {
    render(<Reasoning text="x" running={false} duration_ms={duration_ms} />);
    expect(head().textContent).toBe(expected);
  });
});

describe("AssistantMessage", () => {
  const draw = (more: Parameters<typeof answer>[2], live?: Live) => {
    const message = answer("a", null, { reasoning: "hm", ...more });
    useStore.setState({
      open: { ...newOpen, messages: messagesOf([message]), live: live === undefined ? {} : { a: live } },
    });
    return render(<AssistantMessage id="a" versions={["a"]} last locked={false} />).container;
  };
  beforeEach(() => useStore.setState(useStore.getInitialState()));

  it("tells the measured time of reasoning while it runs, and the server's afterwards", () => {
    const live: Live = { link: "joined", reasoningFrom_ms: 1000, reasoningTo_ms: 9000 };
    draw({ status: "generating", reasoning_ms: 2000 }, live);
    expect(head().textContent).toBe("Thought for 8 seconds");
    cleanup();
    draw({ status: "complete", reasoning_ms: 7000 }, live);
    expect(head().textContent).toBe("Thought for 7 seconds");
    cleanup();
    draw({ status: "generating", reasoning_ms: 2000 });
    expect(head().textContent).toBe("Thought for 2 seconds");
  });

  it.each([
    ["stopped", ["Continue"]],
    ["length", ["Continue"]],
    ["interrupted", ["Continue", "Regenerate"]],
    ["failed", ["Continue", "Regenerate"]],
    ["generating", []],
    ["complete", []],
  ] as const)("offers the ways out of an answer that is %s", (status, expected) => {
    const offered = draw({ status, error: null }).querySelectorAll(".note-buttons button");
    expect([...offered].map(({ textContent }) => textContent)).toEqual(expected);
  });

  it("gives a rate only where a first token came", () => {
    const usage = { prompt_tokens: 1, completion_tokens: 11, reasoning_tokens: 0 };
    const details = (ttft_ms: number | null) => {
      draw({ usage, timing: { queued_ms: 0, ttft_ms, total_ms: 3000 } });
      const label = screen.getByRole("button", { name: /^Details/ }).getAttribute("aria-label");
      cleanup();
      return label;
    };
    expect(details(1000)).toContain("5.0 tokens/s");
    expect(details(null)).not.toContain("tokens/s");
  });
});
