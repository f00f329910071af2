import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Delta, Message } from "../src/api/types";
import { answers, expect, screenshot, test, textOf } from "./fixtures";
import { conversationOf, show } from "./samples";

/** A stream of an answer that a test writes as it goes, at an address of its own. */
async function writtenStream() {
  let response: ServerResponse | undefined;
  const server = createServer((_, joined) => {
    response = joined;
    joined.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    joined.flushHeaders();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/`,
    joined: () => response !== undefined,
    write: (name: string, data: Message | Delta) =>
      response?.write(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`),
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

test("reasoning streams in, and folds when the answer begins", async ({ page }) => {
  const stream = await writtenStream();
  try {
    const tree = conversationOf(["Is it so?", ""], { status: "generating" });
    const blank = tree.messages[1] as Message;
    await page.route("**/messages/*/stream", (route) => route.continue({ url: stream.url }));
    await show(page, tree);
    await expect.poll(stream.joined).toBe(true);
    await expect(page.getByText("Waiting for the model…")).toHaveCount(1);

    // Five seconds of it came before the page did.
    stream.write("snapshot", { ...blank, reasoning: "Let me", reasoning_ms: 5000 });
    const head = answers(page).locator(".reasoning-head");
    const thoughts = answers(page).locator(".reasoning-text");
    await expect(head).toHaveText("Thinking…");
    await expect(head).toHaveAttribute("aria-expanded", "true");
    await expect(thoughts).toHaveText("Let me");
    stream.write("delta", { part: "reasoning", text: " **see**: $2 + 2$." });
    await expect(thoughts.locator("strong")).toHaveText("see");
    await expect(thoughts.locator(".katex")).toBeVisible();
    await screenshot(page, "thinking");

    stream.write("delta", { part: "content", text: "It is" });
    await expect(textOf(answers(page))).toHaveText("It is");
    await expect(head).toHaveText(/^Thought for (?:[5-9]|\d\d) seconds$/);
    await expect(head).toHaveAttribute("aria-expanded", "false");
    await expect(thoughts).toBeHidden();
    await head.click();
    await expect(thoughts.locator("strong")).toHaveText("see");
    stream.write("delta", { part: "content", text: " so." });
    await expect(textOf(answers(page))).toHaveText("It is so.");

    const reasoning = "Let me **see**: $2 + 2$.";
    stream.write("done", {
      ...blank,
      status: "complete",
      content: "It is so.",
      reasoning,
      reasoning_ms: 61_000,
    });
    await expect(answers(page)).toHaveAttribute("data-status", "complete");
    await expect(head).toHaveText("Thought for 1 min 1 s");
    await expect(thoughts.locator("strong")).toBeVisible();
  } finally {
    stream.close();
  }
});
