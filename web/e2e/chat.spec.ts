import type { ConversationTree, Models } from "../src/api/types";
import {
  answers,
  ask,
  begun,
  composer,
  conversationId,
  ended,
  expect,
  expectContinued,
  grown,
  LONG_QUESTION,
  MEDIUM_QUESTION,
  questions,
  SHORT_QUESTION,
  screenshot,
  stop,
  test,
  wordsOf,
} from "./fixtures";

test("a question is answered, word by word", async ({ page }) => {
  await page.goto("/");
  await expect(page.getByRole("heading", { name: "What would you like to dive into?" })).toBeVisible();
  await expect(composer(page)).toBeFocused();
  await expect(page.getByRole("button", { name: "Send message" })).toBeDisabled();
  await screenshot(page, "empty");
  await page.evaluate(() => {
    const lengths = new Set<number>();
    Object.assign(window, { lengths });
    new MutationObserver(() => {
      const text = document.querySelector('article[data-status="generating"] .md');
      if (text !== null) lengths.add(text.textContent?.length ?? 0);
    }).observe(document.body, { childList: true, characterData: true, subtree: true });
  });
  await ask(page, MEDIUM_QUESTION);
  await expect(questions(page).locator(".bubble")).toHaveText(MEDIUM_QUESTION);
  await begun(page);
  await expect(page.getByRole("button", { name: "Stop answering" })).toBeVisible();
  await screenshot(page, "streaming");
  const answer = await ended(page);
  const steps = await page.evaluate(() => (window as unknown as { lengths: Set<number> }).lengths.size);
  expect(steps).toBeGreaterThan(3);
  await expect(composer(page)).toBeFocused();
  await expect(answer.getByRole("button", { name: /^Details: .*tokens/ })).toBeVisible();
  await expect(page).toHaveTitle(`${MEDIUM_QUESTION} · Cachalot`);
  await expect(page.getByRole("link", { name: MEDIUM_QUESTION }).first()).toHaveAttribute(
    "aria-current",
    "page",
  );
  await screenshot(page, "answered");
});

test("what is said earlier in the chat is not drawn again", async ({ page }) => {
  await page.goto("/");
  await ask(page, SHORT_QUESTION);
  await ended(page);
  await page.evaluate(() => {
    let redrawn = 0;
    const observer = new MutationObserver((changes) => {
      redrawn += changes.length;
    });
    const texts = [...document.querySelectorAll("article .md, article .bubble")];
    for (const text of texts) {
      observer.observe(text, { childList: true, characterData: true, subtree: true, attributes: true });
    }
    // What is put in the place of another is not seen to change.
    Object.assign(window, { redrawn: () => redrawn + texts.filter((text) => !text.isConnected).length });
  });
  await ask(page, SHORT_QUESTION);
  await expect(answers(page)).toHaveCount(2);
  await ended(page);
  expect(await page.evaluate(() => (window as unknown as { redrawn: () => number }).redrawn())).toBe(0);
});

test("an answer can be stopped", async ({ page }) => {
  await page.goto("/");
  await ask(page, LONG_QUESTION);
  await grown(await begun(page), "");
  const shown = await wordsOf(answers(page));
  const answer = await stop(page);
  await expect(composer(page)).toBeFocused();
  await expect(answer).toContainText("You stopped this answer.");
  const text = await wordsOf(answer);
  expectContinued(shown, text);
  await screenshot(page, "stopped");
  await page.reload();
  await expect(answers(page)).toHaveAttribute("data-status", "stopped");
  expect(await wordsOf(answers(page))).toBe(text);
  await composer(page).fill(SHORT_QUESTION);
  await page.getByRole("button", { name: "Send message" }).click();
  await expect(composer(page)).toBeFocused();
  await expect(answers(page)).toHaveCount(2);
  await ended(page);
});

test("an answer can be regenerated, and both versions stay", async ({ page }) => {
  await page.goto("/");
  await ask(page, SHORT_QUESTION);
  const first = await wordsOf(await ended(page));
  const firstId = await answers(page).getAttribute("data-message");
  await answers(page).getByRole("button", { name: "Regenerate" }).click();
  await expect(answers(page)).not.toHaveAttribute("data-message", firstId ?? "");
  const second = await wordsOf(await ended(page));
  const versions = page.getByRole("group", { name: "Versions" });
  await expect(versions).toContainText("2/2");
  await versions.getByRole("button", { name: "Previous version" }).click();
  await expect(versions).toContainText("1/2");
  await expect(answers(page)).toHaveAttribute("data-message", firstId ?? "");
  expect(await wordsOf(answers(page))).toBe(first);
  await page.reload();
  await expect(versions).toContainText("2/2");
  expect(await wordsOf(answers(page))).toBe(second);
});

test("a question can be put in other words, and both branches stay", async ({ page }) => {
  await page.goto("/");
  await ask(page, SHORT_QUESTION);
  const first = await wordsOf(await ended(page));
  await questions(page).hover();
  await questions(page).getByRole("button", { name: "Edit" }).click();
  const editor = page.getByRole("textbox", { name: "Edit your message" });
  await expect(editor).toBeFocused();
  await editor.press("Escape");
  await expect(editor).toBeHidden();
  await questions(page).getByRole("button", { name: "Edit" }).click();
  await editor.fill("Say goodbye.");
  await editor.press("Enter");
  await expect(questions(page)).toContainText("Say goodbye.");
  await ended(page);
  const versions = questions(page).getByRole("group", { name: "Versions" });
  await expect(versions).toContainText("2/2");
  await versions.getByRole("button", { name: "Previous version" }).click();
  await expect(questions(page)).toContainText(SHORT_QUESTION);
  expect(await wordsOf(answers(page))).toBe(first);
});

test("a refresh in the middle of an answer loses nothing", async ({ page }) => {
  await page.goto("/");
  await ask(page, LONG_QUESTION);
  await grown(await begun(page), "");
  const before = await wordsOf(answers(page));
  await page.reload();
  const rejoined = await begun(page);
  expectContinued(before, await wordsOf(rejoined));
  await screenshot(page, "rejoined");
  await grown(rejoined, before);
  // Read before the end, which brings the server's own text: what was pieced together from the stream.
  const streamed = await wordsOf(rejoined);
  expectContinued(before, streamed);
  const stopped = await wordsOf(await stop(page));
  expectContinued(streamed, stopped);
  await page.reload();
  await expect(answers(page)).toHaveAttribute("data-status", "stopped");
  expect(await wordsOf(answers(page))).toBe(stopped);
});

test("an answer is complete though its page was not there", async ({ page, server }) => {
  await page.goto("/");
  await ask(page, MEDIUM_QUESTION);
  await grown(await begun(page), "");
  const before = await wordsOf(answers(page));
  const id = await conversationId(page);
  const address = page.url();
  await page.goto("about:blank");
  const status = async () => {
    const tree = await page.request.get(`${server.url}/api/conversations/${id}`);
    return ((await tree.json()) as ConversationTree).messages.at(-1)?.status;
  };
  await expect.poll(status, { timeout: 180_000 }).toMatch(/^(?:complete|length)$/);
  await page.goto(address);
  expectContinued(before, await wordsOf(await ended(page)));
});

test("a second page shows the same answer while it is written", async ({ page, context }) => {
  await page.goto("/");
  await ask(page, LONG_QUESTION);
  await begun(page);
  const other = await context.newPage();
  await other.goto(page.url());
  const before = await wordsOf(await begun(other));
  await grown(answers(other), before);
  // Read before the end, which brings both the server's own text.
  const streamed = [await wordsOf(answers(page)), await wordsOf(answers(other))];
  const stopped = await wordsOf(await stop(other));
  await expect(answers(page)).toHaveAttribute("data-status", "stopped");
  expect(await wordsOf(answers(page))).toBe(stopped);
  for (const text of streamed) expectContinued(text, stopped);
});

test("an answer goes on while another chat is looked at", async ({ page }) => {
  await page.goto("/");
  await ask(page, LONG_QUESTION);
  const before = await wordsOf(await begun(page));
  const id = await conversationId(page);
  await page.getByRole("button", { name: "New chat" }).click();
  await expect(answers(page)).toHaveCount(0);
  await expect(page).toHaveURL(/\/$/);
  await ask(page, SHORT_QUESTION);
  await ended(page);
  await page.goBack();
  await page.goBack();
  await expect(page).toHaveURL(new RegExp(`/c/${id}$`));
  // It may have come to its end by now.
  await grown(answers(page), before);
});

test("the system prompt belongs to its chat", async ({ page }) => {
  await page.goto("/");
  await page.getByRole("button", { name: "Instructions for this chat" }).click();
  const field = page.getByRole("textbox", { name: "System prompt" });
  await field.fill("Answer in one short sentence.");
  await page.getByRole("button", { name: "Save" }).click();
  await expect(field).toBeHidden();
  await ask(page, SHORT_QUESTION);
  await ended(page);
  await page.reload();
  await page.getByRole("button", { name: "Instructions for this chat (set)" }).click();
  await expect(field).toHaveValue("Answer in one short sentence.");
  await page.keyboard.press("Escape");
  await page.getByRole("button", { name: "New chat" }).click();
  await expect(page.getByRole("button", { name: "Instructions for this chat", exact: true })).toBeVisible();
});

test("the model that answers can be seen and chosen", async ({ page }) => {
  await page.route("**/api/models", async (route) => {
    const response = await route.fetch();
    const told = (await response.json()) as Models;
    const installed = told.models.filter((known) => known.installed).slice(0, 1);
    const another = installed.map((known) => ({ ...known, name: "another", title: "Another model" }));
    await route.fulfill({ response, json: { ...told, models: [...told.models, ...another] } });
  });
  await page.goto("/");
  await page.getByRole("button", { name: /^Model: / }).click();
  const model = page.getByRole("menuitemradio").first();
  await expect(model).toHaveAttribute("aria-checked", "true");
  await expect(model).toContainText(/MB|GB/);
  await screenshot(page, "models");
  await page.getByRole("menuitemradio", { name: "Another model" }).click();
  await expect(page.getByRole("button", { name: "Model: Another model" })).toBeVisible();
  await page.reload();
  await page.getByRole("button", { name: "Model: Another model" }).click();
  await expect(page.getByRole("menuitemradio", { name: "Another model" })).toHaveAttribute(
    "aria-checked",
    "true",
  );
  await model.click();
  await expect(page.getByRole("button", { name: "Model: Another model" })).toBeHidden();
  await ask(page, SHORT_QUESTION);
  await ended(page);
});

test("chats are renamed, found and deleted", async ({ page }) => {
  await page.goto("/");
  await ask(page, SHORT_QUESTION);
  await ended(page);
  const id = await conversationId(page);
  const item = page.locator(".side-item", { has: page.locator(`a[href="/c/${id}"]`) });
  await item.getByRole("button", { name: /^Actions for/ }).click();
  await page.getByRole("menuitem", { name: "Rename" }).click();
  const field = page.getByRole("textbox", { name: "New name of the chat" });
  await expect(field).toBeFocused();
  await field.fill("Zebra finch 斑马");
  await field.press("Enter");
  await expect(item).toContainText("Zebra finch 斑马");
  await expect(page).toHaveTitle(/^Zebra finch/);

  await page.keyboard.press("Control+k");
  const search = page.getByRole("dialog", { name: "Search" });
  await expect(search.getByRole("combobox")).toBeFocused();
  await search.getByRole("combobox").fill("zebra");
  await expect(search.getByRole("option")).toHaveCount(1);
  await search.getByRole("combobox").fill("no chat is called like this");
  await expect(search.getByText("Nothing was found.")).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(search).toBeHidden();
  await page.reload();
  await expect(item).toContainText("Zebra finch 斑马");

  await item.getByRole("button", { name: /^Actions for/ }).click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  const question = page.getByRole("alertdialog");
  await expect(question).toContainText("Zebra finch 斑马");
  await screenshot(page, "delete");
  await question.getByRole("button", { name: "Cancel" }).click();
  await expect(item).toBeVisible();
  await item.getByRole("button", { name: /^Actions for/ }).click();
  await page.getByRole("menuitem", { name: "Delete" }).click();
  await question.getByRole("button", { name: "Delete" }).click();
  await expect(item).toHaveCount(0);
  await expect(page).toHaveURL(/\/$/);
  await expect(composer(page)).toBeFocused();
});

test("Enter sends, Shift+Enter makes a line, and an input method keeps its Enter", async ({ page }) => {
  await page.goto("/");
  const field = composer(page);
  await field.fill("Say");
  await field.press("Shift+Enter");
  await field.pressSequentially("hello.");
  await expect(field).toHaveValue("Say\nhello.");
  await field.dispatchEvent("keydown", { key: "Enter", isComposing: true, bubbles: true });
  await field.dispatchEvent("keydown", { key: "Enter", keyCode: 229, bubbles: true });
  await expect(questions(page)).toHaveCount(0);
  await field.press("Enter");
  await expect(questions(page)).toHaveCount(1);
  await expect(field).toHaveValue("");
  await ended(page);
});

test("an answer can be copied", async ({ page, context, server }) => {
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: server.url });
  await page.goto("/");
  await ask(page, SHORT_QUESTION);
  const answer = await ended(page);
  await answer.getByRole("button", { name: "Copy", exact: true }).click();
  await expect(answer.getByRole("button", { name: "Copied" })).toBeVisible();
  const id = await conversationId(page);
  const tree = (await (await page.request.get(`/api/conversations/${id}`)).json()) as {
    messages: { content: string }[];
  };
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(tree.messages.at(-1)?.content);
});
