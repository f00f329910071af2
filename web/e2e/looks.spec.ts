import {
  answers,
  ask,
  begun,
  chooseInSettings,
  composer,
  ended,
  expect,
  expectAccessible,
  grown,
  LONG_QUESTION,
  SHORT_QUESTION,
  screenshot,
  stop,
  test,
  wordsOf,
} from "./fixtures";
import { rich, thought } from "./mock-texts.mjs";
import { conversationOf, show } from "./samples";

const showcase = conversationOf(["Show me code, formulas and a table.", rich], {
  reasoning: thought,
  reasoning_ms: 12_300,
});

for (const theme of ["Light", "Dark"] as const) {
  test(`the ${theme.toLowerCase()} theme is accessible throughout`, async ({ page }) => {
    await page.goto("/");
    await chooseInSettings(page, theme);
    await expect(page.locator("html")).toHaveAttribute("data-theme", theme.toLowerCase());
    await expect(page.getByRole("menu")).toBeHidden();
    await expectAccessible(page);
    await screenshot(page, `empty-${theme.toLowerCase()}`);

    await ask(page, SHORT_QUESTION);
    await ended(page);
    await expectAccessible(page);
    await page
      .getByRole("button", { name: /^Actions for/ })
      .first()
      .click();
    await expectAccessible(page);
    await page.getByRole("menuitem", { name: "Delete" }).click();
    await expectAccessible(page);
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "Instructions for this chat" }).click();
    await expectAccessible(page);
    await page.keyboard.press("Escape");

    await show(page, showcase);
    await expect(answers(page).locator(".katex").first()).toBeVisible();
    await expect(answers(page).locator("pre [style*=shiki]").first()).toBeVisible();
    await page.getByRole("button", { name: "Thought for 12 seconds" }).click();
    await expectAccessible(page);
    await page.setViewportSize({ width: 1280, height: 2000 });
    await screenshot(page, `showcase-${theme.toLowerCase()}`);
  });
}

test("the theme is there before the first paint, and follows the system until one is chosen", async ({
  page,
}) => {
  await page.addInitScript(() => {
    document.addEventListener("DOMContentLoaded", () => {
      Object.assign(window, { first: document.documentElement.dataset["theme"] });
    });
  });
  const first = () => page.evaluate(() => (window as unknown as { first: string }).first);
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goto("/");
  expect(await first()).toBe("dark");
  await page.emulateMedia({ colorScheme: "light" });
  await expect(page.locator("html")).toHaveAttribute("data-theme", "light");
  await chooseInSettings(page, "Dark");
  await page.reload();
  expect(await first()).toBe("dark");
  await expect(page.locator("html")).toHaveAttribute("data-theme", "dark");
});

test("the language can be chosen and stays", async ({ page }) => {
  await page.goto("/");
  await chooseInSettings(page, "Français");
  await expect(page.getByRole("heading", { name: "Dans quoi voulez-vous plonger ?" })).toBeVisible();
  await page.reload();
  await expect(page.locator("html")).toHaveAttribute("lang", "fr");
  await expect(page.getByRole("button", { name: "Nouvelle discussion" })).toBeVisible();
  await chooseInSettings(page, "中文");
  await expect(page.getByRole("button", { name: "新对话" })).toBeVisible();
  await screenshot(page, "chinese");
  await chooseInSettings(page, "English");
  await expect(page.getByRole("button", { name: "New chat" })).toBeVisible();
});

test.describe("on a phone", () => {
  test.use({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true });

  test("a chat fits, and the list is in a drawer", async ({ page }) => {
    await page.goto("/");
    await expect(composer(page)).toBeVisible();
    await screenshot(page, "phone-empty");
    await composer(page).fill(SHORT_QUESTION);
    // Enter is a new line where a finger writes.
    await composer(page).press("Enter");
    await expect(composer(page)).toHaveValue(`${SHORT_QUESTION}\n`);
    await page.getByRole("button", { name: "Send message" }).tap();
    await ended(page);
    await expectAccessible(page);
    await screenshot(page, "phone-chat");
    await page.getByRole("button", { name: "Open sidebar" }).tap();
    const drawer = page.getByRole("dialog");
    await expect(drawer.getByRole("link", { name: SHORT_QUESTION }).first()).toBeVisible();
    await expectAccessible(page);
    await screenshot(page, "phone-drawer");
    await drawer.getByRole("button", { name: "New chat" }).tap();
    await expect(drawer).toBeHidden();
    await expect(answers(page)).toHaveCount(0);
  });

  test("wide things scroll by themselves and the page doesn't", async ({ page }) => {
    await show(page, showcase);
    await expect(answers(page).locator("table")).toBeVisible();
    const [inner, outer] = await page.evaluate(() => [
      document.documentElement.scrollWidth,
      window.innerWidth,
    ]);
    expect(inner).toBe(outer);
    await screenshot(page, "phone-showcase");
  });
});

test("the end of an answer stays in sight until the reader scrolls up", async ({ page }) => {
  await page.setViewportSize({ width: 900, height: 420 });
  await page.goto("/");
  await ask(page, LONG_QUESTION);
  await begun(page);
  const scroller = page.locator(".scroller");
  const distance = () =>
    scroller.evaluate((element) => element.scrollHeight - element.clientHeight - element.scrollTop);
  await expect
    .poll(() => scroller.evaluate((element) => element.scrollTop), { timeout: 120_000 })
    .toBeGreaterThan(200);
  await expect.poll(distance).toBeLessThan(40);
  await scroller.hover();
  await page.mouse.wheel(0, -150);
  const latest = page.getByRole("button", { name: "Jump to latest" });
  await expect(latest).toBeVisible();
  const top = await scroller.evaluate((element) => element.scrollTop);
  await grown(answers(page), await wordsOf(answers(page)));
  expect(await scroller.evaluate((element) => element.scrollTop)).toBe(top);
  await stop(page);
  await latest.click();
  await expect.poll(distance).toBeLessThan(40);
  await expect(latest).toBeHidden();
});

test("a chat of 200 messages opens at its end, whole", async ({ page }) => {
  const contents = Array.from({ length: 200 }, (_, index) =>
    index % 8 === 1 ? rich : `Message **${index}**`,
  );
  await show(page, conversationOf(contents));
  await expect(page.locator("article").last()).toBeInViewport();
  await expect(page.locator("article")).toHaveCount(200);
  await expect(page.locator("article").last()).toBeInViewport();
  await screenshot(page, "long");
  await page.locator(".scroller").evaluate((element) => element.scrollTo(0, 0));
  await expect(page.locator("article").first()).toBeInViewport();
});

test("everything can be reached by keyboard", async ({ page }) => {
  await page.goto("/");
  await expect(composer(page)).toBeFocused();
  // As if the page had been opened without a field to write in.
  await page.evaluate(() => {
    document.body.tabIndex = -1;
    document.body.focus();
    document.body.removeAttribute("tabindex");
  });
  await page.keyboard.press("Tab");
  await expect(page.getByRole("link", { name: "Skip to the message field" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(composer(page)).toBeFocused();
  await page.keyboard.type(SHORT_QUESTION);
  await page.keyboard.press("Tab");
  await expect(page.getByRole("button", { name: "Send message" })).toBeFocused();
  await page.keyboard.press("Enter");
  await ended(page);
  await expect(page.getByRole("status").filter({ hasText: "The answer is complete." })).toHaveCount(1);
  await page.keyboard.press("Control+Shift+o");
  await expect(answers(page)).toHaveCount(0);
  await expect(composer(page)).toBeFocused();
});
