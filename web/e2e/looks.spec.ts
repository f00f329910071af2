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
  const theme = page.locator("html");
  // The app, which sets the theme too, comes only when the test lets it.
  let release = () => {};
  await page.route("**/assets/*.js", async (route) => {
    await held;
    await route.continue();
  });
  let held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.goto("/", { waitUntil: "commit" });
  await expect(theme).toHaveAttribute("data-theme", "dark");
  release();
  await expect(composer(page)).toBeVisible();
  await page.emulateMedia({ colorScheme: "light" });
  await expect(theme).toHaveAttribute("data-theme", "light");
  await chooseInSettings(page, "Dark");
  held = new Promise<void>((resolve) => {
    release = resolve;
  });
  await page.reload({ waitUntil: "commit" });
  await expect(theme).toHaveAttribute("data-theme", "dark");
  await expect(composer(page)).toHaveCount(0);
  release();
  await expect(composer(page)).toBeVisible();
  await expect(theme).toHaveAttribute("data-theme", "dark");
});

test("what is said of parts of the page comes after what is said of all", async ({ page }) => {
  await page.goto("/");
  // All begin without space around them.
  const space = await composer(page).evaluate((element) => getComputedStyle(element).paddingRight);
  expect(space).toBe("8px");
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
    await expect(composer(page)).not.toBeFocused();
    await page.getByRole("button", { name: "Explain" }).tap();
    await expect(composer(page)).toHaveValue(/sky/);
    await expect(composer(page)).toBeFocused();
    await composer(page).fill(SHORT_QUESTION);
    // Enter is a new line where a finger writes.
    await composer(page).press("Enter");
    await expect(composer(page)).toHaveValue(`${SHORT_QUESTION}\n`);
    await page.getByRole("button", { name: "Send message" }).tap();
    await ended(page);
    await answers(page)
      .getByRole("button", { name: /^Details/ })
      .tap();
    const tip = page.locator(".tip");
    await expect(tip).toContainText("tokens");
    await expect(tip).toBeInViewport({ ratio: 1 });
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
    // A suggestion asked for the keyboard once, and not for good.
    await page.goBack();
    await expect(answers(page)).toHaveCount(1);
    await page.getByRole("button", { name: "New chat" }).tap();
    await expect(answers(page)).toHaveCount(0);
    await expect(composer(page)).not.toBeFocused();
  });

  test("wide things scroll by themselves and the page doesn't", async ({ page }) => {
    const wide = `$\\frac{${"\\mathbf{a} + ".repeat(25)}b}{2}$`;
    const long = `Here is ${wide} in a line.\n\n- and ${wide} in a list\n\n> and ${wide} in a quotation`;
    await show(page, conversationOf(["Show me all.", `${rich}\n\n${long}`]));
    await expect(answers(page).locator("table")).toBeVisible();
    await expect(answers(page).locator("li .katex")).toBeVisible();
    // The page itself never widens, whatever is in it: the part that scrolls would.
    const widths = await page
      .locator(".scroller")
      .evaluate((element) => [element.scrollWidth, element.clientWidth]);
    expect(widths[0]).toBe(widths[1]);
    const scrolling = answers(page).locator(":is(p, ul):has(.mathbf)");
    for (const element of await scrolling.all()) {
      expect(await element.evaluate((one) => one.scrollWidth - one.clientWidth)).toBeGreaterThan(100);
    }
    await expect(scrolling).toHaveCount(3);
    await screenshot(page, "phone-showcase");
  });
});

test("the end of an answer stays in sight until the reader scrolls up", async ({ page }) => {
  // So narrow that few words fill it: how long an answer gets is the model's affair.
  await page.setViewportSize({ width: 520, height: 420 });
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
  // A wheel scrolls smoothly: the place is known once it stays the same.
  const topOf = () => scroller.evaluate((element) => element.scrollTop);
  let top = Number.NaN;
  await expect
    .poll(async () => {
      const before = top;
      top = await topOf();
      return top - before;
    })
    .toBe(0);
  await grown(answers(page), await wordsOf(answers(page)));
  expect(await topOf()).toBe(top);
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
  await expect(
    page.getByRole("status").filter({ hasText: /^The answer (?:is complete|has ended early)/ }),
  ).toHaveCount(1);
  await page.keyboard.press("Control+Shift+o");
  await expect(answers(page)).toHaveCount(0);
  await expect(composer(page)).toBeFocused();
});
