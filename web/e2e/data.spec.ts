import { readFile } from "node:fs/promises";
import type { Locator, Page } from "@playwright/test";
import type { ConversationTree } from "../src/api/types";
import {
  answers,
  ask,
  begun,
  composer,
  conversationId,
  ended,
  expect,
  expectAccessible,
  expectContinued,
  grown,
  LONG_QUESTION,
  questions,
  SHORT_QUESTION,
  screenshot,
  stop,
  test,
  wordsOf,
} from "./fixtures";
import { Server } from "./server";
import { addPerson, expectFits, pageOf, screens, tongues } from "./users";

const press = (place: Page | Locator, name: string): Promise<void> =>
  place.getByRole("button", { name, exact: true }).click();
const dataOf = (page: Page): Locator => page.getByRole("region", { name: "Your data", exact: true });
const chooser = (page: Page): Locator => page.locator('input[type="file"]');
const chats = (page: Page): Locator => page.locator(".side-item");
const search = (page: Page): Locator => page.getByRole("dialog", { name: "Search" });
const words = (page: Page): Locator => search(page).getByRole("combobox");
const options = (page: Page): Locator => search(page).getByRole("option");

/** What one downloads of one's own. */
async function exported(page: Page): Promise<{ name: string; bytes: Buffer }> {
  await page.goto("/account");
  const downloading = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download everything" }).click();
  const download = await downloading;
  return { name: download.suggestedFilename(), bytes: await readFile(await download.path()) };
}

const fileOf = (name: string, content: string | Buffer) => ({
  name,
  mimeType: "application/octet-stream",
  buffer: Buffer.from(content),
});

interface Said {
  id: string;
  parent_id?: string;
  role: "user" | "assistant";
  content: string;
}

/** A conversation as our own export has it, so that a test needn't ask a model for what it looks for. */
function ownFile(title: string, messages: Said[]): ReturnType<typeof fileOf> {
  const told = messages.map((message, index) => ({
    status: "complete",
    created_ms: Date.UTC(2026, 0, 2) + index,
    ...message,
  }));
  const conversation = { id: title, title, model: "sample", system: null, created_ms: 1, updated_ms: 2 };
  const conversations = [{ ...conversation, messages: told }];
  return fileOf("conversations.json", JSON.stringify({ format: "cachalot", version: 1, conversations }));
}

/** A long chat in which a word was said in the middle, and another one on a branch that isn't shown. */
function ocean(): ReturnType<typeof fileOf> {
  const messages: Said[] = [];
  for (let index = 0; index < 60; index += 1) {
    const above = messages.at(-1);
    messages.push({
      id: `m${index}`,
      ...(above === undefined ? {} : { parent_id: above.id }),
      role: index % 2 === 0 ? "user" : "assistant",
      content:
        index === 11 ? "Plankton **drifts** <b>with</b> the current." : `Line ${index}.\n\n- one\n- two`,
    });
    if (index === 20) {
      messages.push({ id: "side", parent_id: "m20", role: "assistant", content: "Ambergris floats." });
      messages.push({ ...(messages[20] as Said), id: "m20x", content: "Line 20 again." });
    }
  }
  return ownFile("The open sea", messages);
}

async function importFile(page: Page, file: ReturnType<typeof fileOf>): Promise<void> {
  await page.goto("/account");
  await chooser(page).setInputFiles(file);
  await expect(dataOf(page).getByRole("status").first()).toContainText("imported.");
}

test.describe("taking one's data along", () => {
  test.use({ expectedErrors: [/status of (?:400|413|422|429)/] });

  test("what one exports, another one imports, with all branches", async ({ page, browser, server }) => {
    const sender = await addPerson(server);
    const receiver = await addPerson(server);
    const theirs = await pageOf(browser, server, sender);
    await theirs.goto("/");
    await ask(theirs, SHORT_QUESTION);
    const before = await ended(theirs);
    const first = await wordsOf(before);
    const firstId = await before.getAttribute("data-message");
    await press(answers(theirs), "Regenerate");
    // Versions are shown when the new one has ended, and it may be one that goes on and on.
    await expect(answers(theirs)).not.toHaveAttribute("data-message", firstId ?? "");
    const second = await wordsOf(await ended(theirs));
    await expect(answers(theirs).getByRole("group", { name: "Versions" })).toContainText("2/2");
    const { name, bytes } = await exported(theirs);
    expect(name).toMatch(/^cachalot-export-\d{4}-\d{2}-\d{2}\.zip$/);
    await screenshot(theirs, "data-exported");
    await theirs.context().close();

    const other = await pageOf(browser, server, receiver);
    await other.goto("/account");
    await chooser(other).setInputFiles(fileOf(name, bytes));
    const status = dataOf(other).getByRole("status").first();
    await expect(status).toContainText("1 chat was imported. 3 messages. Format: Cachalot.");
    await expectAccessible(other);
    await screenshot(other, "data-imported");
    await other.getByRole("link", { name: "Back to the chats" }).click();
    await expect(chats(other)).toHaveCount(1);
    await chats(other).getByRole("link").click();
    await expect(questions(other).locator(".bubble")).toHaveText(SHORT_QUESTION);
    const versions = answers(other).getByRole("group", { name: "Versions" });
    await expect(versions).toContainText("2/2");
    expect(await wordsOf(answers(other))).toBe(second);
    await press(versions, "Previous version");
    expect(await wordsOf(answers(other))).toBe(first);

    await other.goto("/account");
    await chooser(other).setInputFiles(fileOf(name, bytes));
    await expect(status).toContainText("0 chats were imported. 0 messages. 1 was here already.");
    await other.context().close();
    // Another's data is not theirs.
    await page.goto("/");
    await expect(composer(page)).toBeVisible();
    await expect(page.locator(`a[href="${new URL(other.url()).pathname}"]`)).toHaveCount(0);
  });

  test("another service's file is taken, and what could not be is told", async ({ browser, server }) => {
    const page = await pageOf(browser, server, await addPerson(server));
    const node = (parent: string | null, role: string | null, text: string) => ({
      parent,
      message: role === null ? null : { author: { role }, content: { content_type: "text", parts: [text] } },
    });
    const whole = {
      root: node(null, null, ""),
      a: node("root", "user", "How deep do they dive?"),
      b: node("a", "assistant", "Two kilometres."),
    };
    const file = [
      { id: "1", title: "Deep <b>dives</b>", create_time: 1_750_000_000, mapping: whole },
      {
        id: "2",
        title: "Nothing in it",
        create_time: 1_750_000_000,
        mapping: { root: node(null, null, "") },
      },
    ];
    await page.goto("/account");
    await chooser(page).setInputFiles(fileOf("conversations.json", JSON.stringify(file)));
    const status = dataOf(page).getByRole("status").first();
    await expect(status).toContainText("1 chat was imported. 2 messages. Format: ChatGPT.");
    await expect(status).toContainText("1 could not be taken:");
    await expect(status.getByRole("listitem")).toContainText("Nothing in it: ");
    await expectAccessible(page);
    await screenshot(page, "data-skipped");
    await page.getByRole("link", { name: "Back to the chats" }).click();
    await page.getByRole("link", { name: "Deep <b>dives</b>" }).click();
    await expect(answers(page)).toContainText("Two kilometres.");
    await page.context().close();
  });

  test("a file that is none is refused, and the next one taken", async ({ browser, server }) => {
    const page = await pageOf(browser, server, await addPerson(server));
    await page.goto("/account");
    await chooser(page).setInputFiles(fileOf("holiday.json", "not a word of JSON"));
    await expect(dataOf(page)).toContainText("This isn't a file that can be imported, or it is damaged.");
    await expectAccessible(page);
    await screenshot(page, "data-refused");
    await chooser(page).setInputFiles(ocean());
    await expect(dataOf(page).getByRole("status").first()).toContainText("1 chat was imported. 62 messages.");
    await page.context().close();
  });

  test("an import can be called off on its way", async ({ page }) => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await page.route("**/api/account/import", async (route) => {
      await held;
      await route.abort();
    });
    await page.goto("/account");
    await chooser(page).setInputFiles(ocean());
    await expect(dataOf(page).getByRole("progressbar")).toBeVisible();
    await expectAccessible(page);
    await press(dataOf(page), "Cancel");
    await expect(dataOf(page)).toContainText("The import was cancelled.");
    await expect(dataOf(page).getByRole("button", { name: "Choose a file" })).toBeFocused();
    release();
  });
});

test("chats stay as long as one says, and one is asked before old ones go", async ({ browser, server }) => {
  const page = await pageOf(browser, server, await addPerson(server));
  await page.goto("/account");
  const data = dataOf(page);
  await expect(data.getByRole("radio", { name: "Until I delete them" })).toBeChecked();
  await data.getByRole("radio", { name: "Only for a time" }).check();
  await data.getByLabel("Days").fill("0");
  await press(data, "Save");
  await expect(data.getByLabel("Days")).toBeFocused();
  await expect(data).toContainText("Enter a whole number from 1 to 3650.");
  await data.getByLabel("Days").fill("30");
  await press(data, "Save");
  const question = page.getByRole("alertdialog");
  await expect(question).toContainText("Delete old chats?");
  await expectAccessible(page);
  await screenshot(page, "data-retention");
  await press(question, "Cancel");
  await expect(data.getByRole("button", { name: "Save" })).toBeFocused();
  await press(data, "Save");
  await press(question, "Delete them");
  await expect(data).toContainText("Saved.");
  await page.reload();
  await expect(data.getByLabel("Days")).toHaveValue("30");
  // Longer takes nothing away.
  await data.getByRole("radio", { name: "Until I delete them" }).check();
  await press(data, "Save");
  await expect(data).toContainText("Saved.");
  await page.reload();
  await expect(data.getByRole("radio", { name: "Until I delete them" })).toBeChecked();
  await page.context().close();
});

test.describe("the search", () => {
  test("finds what was said, by the keyboard alone, and brings it into sight", async ({
    browser,
    server,
  }) => {
    const page = await pageOf(browser, server, await addPerson(server));
    await importFile(page, ocean());
    await page.goto("/");
    await expect(composer(page)).toBeFocused();
    await page.keyboard.press("Control+k");
    await expect(words(page)).toBeFocused();
    await expect(options(page)).toHaveCount(1);
    await page.keyboard.type("PLANKTON current");
    await expect(options(page)).toHaveCount(1);
    await expect(options(page)).toContainText("The open sea");
    await expect(options(page).locator("mark")).toHaveText(["Plankton", "current"]);
    // A message is text, whatever is in it.
    await expect(options(page).locator("b")).toHaveCount(0);
    await expectAccessible(page);
    await screenshot(page, "search");
    await page.keyboard.press("Enter");
    await expect(search(page)).toBeHidden();
    const found = answers(page).filter({ hasText: "Plankton" });
    await expect(found).toBeFocused();
    await expect(found).toBeInViewport({ ratio: 0.9 });
    await expect(page.locator("article")).toHaveCount(60);
    await expect(found).toBeInViewport({ ratio: 0.9 });
    await screenshot(page, "search-found");

    // On the branch that isn't shown, in the chat that is open.
    await expect(page.locator("article").filter({ hasText: "Ambergris" })).toHaveCount(0);
    await page.keyboard.press("Control+k");
    await page.keyboard.type("ambergris");
    await expect(options(page)).toHaveCount(1);
    await page.keyboard.press("Enter");
    await expect(page.locator("article").filter({ hasText: "Ambergris floats." })).toBeFocused();
    await expect(page.locator("article").filter({ hasText: "Ambergris floats." })).toBeInViewport();
    await page.context().close();
  });

  test("goes up and down its results, and says when there are none", async ({ browser, server }) => {
    const page = await pageOf(browser, server, await addPerson(server));
    await importFile(page, ocean());
    await page.goto("/");
    await page.getByRole("button", { name: "Search" }).click();
    await words(page).fill("line");
    await expect(options(page)).toHaveCount(50);
    await expect(search(page)).toContainText("There are more: add a word.");
    const chosen = search(page).getByRole("option", { selected: true });
    const first = await chosen.getAttribute("id");
    await expect(words(page)).toHaveAttribute("aria-activedescendant", first ?? "");
    for (let index = 0; index < 12; index += 1) await page.keyboard.press("ArrowDown");
    await expect(chosen).toBeInViewport({ ratio: 0.95 });
    await expect(chosen).not.toHaveAttribute("id", first ?? "");
    for (let index = 0; index < 12; index += 1) await page.keyboard.press("ArrowUp");
    await expect(chosen).toHaveAttribute("id", first ?? "");
    await page.keyboard.press("ArrowUp");
    await expect(chosen).toBeInViewport({ ratio: 0.95 });
    await words(page).fill("the kraken");
    await expect(search(page)).toContainText("Nothing was found.");
    await page.keyboard.press("Escape");
    await expect(search(page)).toBeHidden();
    await expect(page.getByRole("button", { name: "Search" })).toBeFocused();
    await page.context().close();
  });

  test("finds nothing of another user's", async ({ browser, server }) => {
    const one = await pageOf(browser, server, await addPerson(server));
    await importFile(one, ocean());
    const other = await pageOf(browser, server, await addPerson(server));
    await other.goto("/");
    // Keys are heard once the page is there.
    await expect(composer(other)).toBeVisible();
    await other.keyboard.press("Control+k");
    await words(other).fill("plankton");
    await expect(search(other)).toContainText("Nothing was found.");
    await one.context().close();
    await other.context().close();
  });
});

test("an answer that was stopped goes on in its place", async ({ page, server }) => {
  await page.goto("/");
  await ask(page, LONG_QUESTION);
  await grown(await begun(page), "");
  const before = await wordsOf(await stop(page));
  const message = await answers(page).getAttribute("data-message");
  await answers(page).getByRole("button", { name: "Continue" }).click();
  await grown(await begun(page), before);
  expectContinued(before, await wordsOf(answers(page)));
  const after = await wordsOf(await stop(page));
  await expect(answers(page)).toHaveAttribute("data-message", message ?? "");
  expectContinued(before, after);
  await expect(answers(page).getByRole("group", { name: "Versions" })).toHaveCount(0);
  const id = await conversationId(page);
  const tree = await page.request.get(`${server.url}/api/conversations/${id}`);
  expect(((await tree.json()) as ConversationTree).messages).toHaveLength(2);

  // What has been answered to can't go on.
  await ask(page, SHORT_QUESTION);
  await expect(answers(page)).toHaveCount(2);
  await ended(page);
  await expect(answers(page).first().getByRole("button", { name: "Continue" })).toHaveCount(0);
});

/** A crash takes at most the last second of an answer; the rest is for a busy machine. */
const KEPT_WITHIN_MS = 2500;

test.describe("when the server crashes", () => {
  test.use({ expectedErrors: [/net::ERR_/] });

  test("the answer that it was writing goes on afterwards", async ({ page }) => {
    const mortal = await Server.create();
    try {
      await page.context().addCookies(mortal.administrator.cookies);
      await page.goto(mortal.url);
      await ask(page, LONG_QUESTION);
      await grown(await begun(page), "");
      const early = await wordsOf(answers(page).last());
      await page.waitForTimeout(KEPT_WITHIN_MS);
      await mortal.crash();
      await expect(page.getByText("The server can't be reached. Trying again…")).toBeVisible();
      await mortal.start();
      const answer = answers(page);
      await expect(answer).toHaveAttribute("data-status", "interrupted", { timeout: 60_000 });
      const kept = await wordsOf(answer);
      expectContinued(early, kept);
      const message = await answer.getAttribute("data-message");
      await expectAccessible(page);
      await screenshot(page, "interrupted-continue");
      await answer.getByRole("button", { name: "Continue" }).click();
      await expect(composer(page)).toBeFocused();
      await grown(await begun(page), kept);
      expectContinued(kept, await wordsOf(answer));
      // A second page finds the same answer, from its beginning.
      await page.reload();
      expectContinued(kept, await wordsOf(await begun(page)));
      const stopped = await wordsOf(await stop(page));
      expectContinued(kept, stopped);
      await expect(answer).toHaveAttribute("data-message", message ?? "");
      await page.reload();
      await expect(answer).toHaveAttribute("data-status", "stopped");
      expect(await wordsOf(answer)).toBe(stopped);
    } finally {
      await mortal.dispose();
    }
  });
});

for (const [screen, view] of Object.entries(screens)) {
  for (const [index, { name, locale }] of tongues.entries()) {
    test(`one's data and the search are accessible and fit, on a ${screen}, in ${name}`, async ({
      browser,
      server,
    }) => {
      const colorScheme = index === 1 ? "dark" : "light";
      const options = { ...view, locale, colorScheme } as const;
      const page = await pageOf(browser, server, await addPerson(server), options);
      await page.goto("/account");
      await expect(page.locator("html")).toHaveAttribute("lang", locale.slice(0, 2));
      await chooser(page).setInputFiles(ocean());
      await expect(page.locator(".data-result")).toContainText("62");
      await page.locator(".data-choices input").nth(1).check();
      await page.locator(".data-choices").scrollIntoViewIfNeeded();
      await expectAccessible(page);
      await expectFits(page);
      await screenshot(page, `data-${screen}-${index}`);
      await page.goto("/");
      await expect(page.locator("#composer")).toBeVisible();
      await page.keyboard.press("Control+k");
      await page.keyboard.type("plankton");
      await expect(page.locator("mark")).toHaveText("Plankton");
      await expectAccessible(page);
      await expectFits(page);
      await screenshot(page, `search-${screen}-${index}`);
      await page.context().close();
    });
  }
}
