import {
  answers,
  ask,
  begun,
  composer,
  ended,
  expect,
  LONG_QUESTION,
  questions,
  SHORT_QUESTION,
  screenshot,
  stop,
  test,
  textOf,
  wordsOf,
} from "./fixtures";
import { conversationOf, show } from "./samples";
import { Server } from "./server";

test.describe("when the server goes away", () => {
  test.use({ expectedErrors: [/net::ERR_/] });

  test("the page says so, and tells the interrupted answer when it is back", async ({ page }) => {
    const mortal = await Server.create();
    try {
      await page.context().addCookies(mortal.administrator.cookies);
      await page.goto(mortal.url);
      await ask(page, LONG_QUESTION);
      const answer = await begun(page);
      const before = await wordsOf(answer);
      await mortal.crash();
      await expect(page.getByText("The server can't be reached. Trying again…")).toBeVisible();
      await expect(answer).toContainText("Connection lost. Rejoining the answer…");
      await expect(textOf(answer)).toContainText(before.slice(0, 20));
      await screenshot(page, "server-gone");

      await mortal.start();
      await expect(answers(page)).toHaveAttribute("data-status", "interrupted", { timeout: 60_000 });
      await expect(answers(page)).toContainText("This answer was interrupted.");
      await expect(page.getByText("The server can't be reached. Trying again…")).toBeHidden();
      await screenshot(page, "interrupted");
      await answers(page).locator(".note").getByRole("button", { name: "Regenerate" }).click();
      await begun(page);
      await stop(page);
      await expect(page.getByRole("group", { name: "Versions" })).toContainText("2/2");
    } finally {
      await mortal.dispose();
    }
  });

  test("a message that it did not take is kept", async ({ page }) => {
    const mortal = await Server.create();
    try {
      await page.context().addCookies(mortal.administrator.cookies);
      await page.goto(mortal.url);
      await expect(page.getByRole("button", { name: /^Model: / })).toBeVisible();
      await mortal.crash();
      await ask(page, "Where have you gone?");
      await expect(page.getByRole("alert")).toContainText("Your message was kept.");
      await expect(composer(page)).toHaveValue("Where have you gone?");
      const lost = page.getByText("The server can't be reached. Trying again…");
      await page.getByRole("button", { name: "Try now" }).click();
      await expect(lost).toBeVisible();
      // From here on the page may find it by itself before anybody asks for it.
      await mortal.start();
      await expect(lost).toBeHidden();
      await page.getByRole("button", { name: "Send message" }).click();
      await ended(page);
      await expect(page.getByRole("alert")).toHaveCount(0);
    } finally {
      await mortal.dispose();
    }
  });
});

test.describe("when the server refuses", () => {
  test.use({ expectedErrors: [/status of (?:404|503|400)/] });

  test("a busy server leaves the message in the field", async ({ page }) => {
    await page.route("**/api/conversations/*/messages", (route) =>
      route.fulfill({ status: 503, json: { error: { message: "the queue is full", type: "overloaded" } } }),
    );
    await page.goto("/");
    await ask(page, SHORT_QUESTION);
    await expect(page.getByRole("alert")).toContainText("The server is busy right now.");
    await expect(composer(page)).toHaveValue(SHORT_QUESTION);
    await expect(questions(page)).toHaveCount(0);
    await expect(page).toHaveURL(/\/$/);
    await screenshot(page, "busy");
    await page.unroute("**/api/conversations/*/messages");
    await composer(page).press("Enter");
    await ended(page);
    await expect(page.getByRole("alert")).toHaveCount(0);
  });

  test("a chat that doesn't exist is told apart", async ({ page }) => {
    await page.goto("/c/00000000-0000-7000-8000-000000000000");
    await expect(page.getByRole("alert")).toContainText("This chat doesn't exist");
    await page.getByRole("button", { name: "Start a new chat" }).click();
    await expect(composer(page)).toBeFocused();
  });
});

test("a stream that is cut is joined again", async ({ page }) => {
  let cut = 0;
  await page.route("**/messages/*/stream", async (route) => {
    cut += 1;
    if (cut > 2) return route.continue();
    return route.fulfill({ contentType: "text/event-stream", body: ": cut before anything was said\n\n" });
  });
  await page.goto("/");
  await ask(page, SHORT_QUESTION);
  await ended(page);
  expect(cut).toBeGreaterThan(2);
});

test("markup in a question stays text", async ({ page }) => {
  const hostile = [
    "<script>window.broken = 1</script>",
    "<img src=x onerror='window.broken = 1'>",
    "[link](javascript:window.broken=1)",
    "</textarea><svg onload='window.broken = 1'>",
  ].join("\n");
  await page.goto("/");
  await composer(page).fill(hostile);
  await composer(page).press("Enter");
  await expect(questions(page).locator(".bubble")).toHaveText(hostile);
  await ended(page);
  await page.reload();
  await expect(questions(page).locator(".bubble")).toHaveText(hostile);
  await expect(questions(page).locator("img, script, svg:not(.lucide), a")).toHaveCount(0);
  expect(await page.evaluate(() => "broken" in window)).toBe(false);
});

test("markup in an answer stays text, and nothing is loaded for it", async ({ page }) => {
  const hostile = [
    "<script>window.broken = 1</script>",
    "<img src=https://tracker.invalid/a.png onerror='window.broken = 1'>",
    "![pixel](https://tracker.invalid/b.png)",
    "[one](javascript:window.broken=1) [two](data:text/html,x) [three](https://safe.invalid/)",
    "<iframe src=https://tracker.invalid></iframe><style>body{display:none}</style>",
    "$\\href{javascript:window.broken=1}{x}$ $\\includegraphics{https://tracker.invalid/c.png}$ $x$",
    "```html\n<script>window.broken = 1</script>\n```",
  ].join("\n\n");
  await show(page, conversationOf(["Break the page.", hostile]));
  const answer = answers(page);
  await expect(answer.locator(".katex").first()).toBeVisible();
  await expect(answer.locator("script, iframe, img, style")).toHaveCount(0);
  await expect(answer.getByRole("link", { name: "pixel" })).toHaveCount(1);
  for (const link of await answer.getByRole("link").all()) {
    expect(await link.getAttribute("href")).toMatch(/^https:/);
    expect(await link.getAttribute("rel")).toBe("noopener noreferrer");
  }
  await expect(answer.getByText("window.broken = 1").first()).toBeVisible();
  expect(await page.evaluate(() => "broken" in window)).toBe(false);
  await screenshot(page, "hostile");
});

test("the page brings its policy", async ({ page }) => {
  const response = await page.goto("/");
  const policy = response?.headers()["content-security-policy"] ?? "";
  expect(policy).toMatch(/default-src '(?:none|self)'/);
  expect(policy).not.toMatch(/script-src[^;]*'unsafe/);
  expect(policy).toContain("frame-ancestors 'none'");
});
