import { AxeBuilder } from "@axe-core/playwright";
import { test as base, expect, type Locator, type Page } from "@playwright/test";
import { Server } from "./server";

interface Options {
  /** Console errors that a test provokes. */
  expectedErrors: RegExp[];
  /** Whether the page is the administrator's; otherwise nobody is signed in. */
  signedIn: boolean;
}

interface TestFixtures {
  /** Fails the test for any error on the console and any request to another host. */
  watched: undefined;
}

interface WorkerFixtures {
  server: Server;
}

export const test = base.extend<Options & TestFixtures, WorkerFixtures>({
  expectedErrors: [[], { option: true }],
  signedIn: [true, { option: true }],

  server: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the fixtures that are needed from this pattern
    async ({}, use) => {
      const server = await Server.create();
      await use(server);
      await server.dispose();
    },
    { scope: "worker", timeout: 180_000 },
  ],

  baseURL: async ({ server }, use) => use(server.url),

  storageState: async ({ server, signedIn }, use) => use(signedIn ? server.administrator : undefined),

  watched: [
    async ({ context, expectedErrors }, use) => {
      const errors: string[] = [];
      const foreign: string[] = [];
      context.on("console", (message) => {
        if (message.type() === "error") errors.push(message.text());
      });
      context.on("weberror", (error) => errors.push(String(error.error())));
      context.on("request", (request) => {
        const url = new URL(request.url());
        if (!["127.0.0.1", "localhost", ""].includes(url.hostname)) foreign.push(request.url());
      });
      await use(undefined);
      const unexpected = errors.filter((text) => !expectedErrors.some((pattern) => pattern.test(text)));
      expect(unexpected, "errors on the console").toEqual([]);
      expect(foreign, "requests to other hosts").toEqual([]);
    },
    { auto: true },
  ],
});

export { expect } from "@playwright/test";

/** What this small model answers in a few words, in a few hundred, and with far more than a test waits for. */
export const SHORT_QUESTION = "Say hello.";
export const MEDIUM_QUESTION = "What is photosynthesis? Explain in detail.";
export const LONG_QUESTION = "Write an essay about the history of bread.";

const TAIL_LENGTH = 8;
/** A small model may go on for as long as it may: what most answers take on a slow machine. */
const PATIENCE_MS = 8_000;

export const composer = (page: Page): Locator => page.getByRole("textbox", { name: "Message", exact: true });
export const answers = (page: Page): Locator => page.locator("article.message-assistant");
export const questions = (page: Page): Locator => page.locator("article.message-user");
export const textOf = (answer: Locator): Locator => answer.locator(".md").last();

/** What an answer says, without marks. */
export async function wordsOf(answer: Locator): Promise<string> {
  return (await textOf(answer).textContent()) ?? "";
}

/**
 * Fails unless `later` goes on from `before`. What is no letter or digit may be a mark of Markdown, which comes and goes
 * with what follows it, and so may the last characters be.
 */
export function expectContinued(before: string, later: string): void {
  const letters = (text: string) => text.replace(/[^\p{L}\p{N}]+/gu, "");
  const settled = letters(before).slice(0, -TAIL_LENGTH);
  expect(settled.length, "too little was shown to compare").toBeGreaterThan(0);
  expect(letters(later).slice(0, settled.length)).toBe(settled);
}

export async function ask(page: Page, question: string): Promise<void> {
  await composer(page).fill(question);
  await composer(page).press("Enter");
}

/** Waits until the last answer has come to an end: by itself or, when the small model goes on and on, by the button. */
export async function ended(page: Page): Promise<Locator> {
  const answer = answers(page).last();
  const byItself = answer.and(page.locator('[data-status="complete"], [data-status="length"]'));
  await byItself
    .waitFor({ timeout: PATIENCE_MS })
    .catch(() => page.getByRole("button", { name: "Stop answering" }).click({ timeout: 5000 }))
    .catch(() => {});
  await expect(answer).toHaveAttribute("data-status", /^(?:complete|length|stopped)$/);
  return answer;
}

/** Stops the answer that is being written, and waits until it has stopped. */
export async function stop(page: Page): Promise<Locator> {
  await page.getByRole("button", { name: "Stop answering" }).click();
  const answer = answers(page).last();
  await expect(answer).toHaveAttribute("data-status", "stopped");
  return answer;
}

/** Waits until the answer says more than `before`. */
export async function grown(answer: Locator, before: string): Promise<void> {
  await expect
    .poll(async () => (await wordsOf(answer)).length, { timeout: 60_000 })
    .toBeGreaterThan(before.length + 40);
}

/** Waits until the first words of the last answer are on the page, while it is still being written. */
export async function begun(page: Page): Promise<Locator> {
  const answer = page.locator('article[data-status="generating"]');
  await expect(textOf(answer)).toHaveText(/\w/, { timeout: 60_000 });
  return answers(page).last();
}

/** The id in the address. */
export async function conversationId(page: Page): Promise<string> {
  await expect(page).toHaveURL(/\/c\/[^/]+$/);
  return decodeURIComponent(new URL(page.url()).pathname.slice("/c/".length));
}

export async function chooseInSettings(page: Page, name: string): Promise<void> {
  await page.locator(".side-foot button").click();
  await page.getByRole("menuitemradio", { name }).click();
}

export async function screenshot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `e2e/screenshots/${name}.png`, animations: "disabled" });
}

/** Waits until what fades or slides in is there: half of the way its colours are none that anybody reads. */
async function appeared(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const ends = document
      .getAnimations()
      .filter((it) => it.playState === "running" && it.effect?.getComputedTiming().endTime !== Infinity);
    await Promise.allSettled(ends.map((it) => it.finished));
  });
}

/** No serious finding of axe, and none at all of WCAG 2.2 A and AA. */
export async function expectAccessible(page: Page): Promise<void> {
  await appeared(page);
  const { violations } = await new AxeBuilder({ page }).analyze();
  const serious = violations.filter(
    ({ impact, tags }) =>
      impact === "serious" || impact === "critical" || tags.some((tag) => /^wcag2\d*a{1,2}$/.test(tag)),
  );
  const told = serious.map(
    ({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(" | ")}`,
  );
  expect(told, "findings of axe").toEqual([]);
}
