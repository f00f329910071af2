import type { Browser, Locator, Page } from "@playwright/test";
import { composer, expect, expectAccessible, screenshot, test } from "./fixtures";
import type { Server } from "./server";
import { addPerson, asAdministrator, enter, expectFits, newName, pageOf, screens, tongues } from "./users";

// A challenge comes by way of a refusal, a place that is gone is one, and browsers tell of both.
test.use({ signedIn: false, expectedErrors: [/status of (?:410|428)/] });

const PASSWORD = "nine deep dives";

const pin = (server: Server, level: string | null) =>
  asAdministrator(server, "PUT", "/api/admin/gate", { level, reason: "a test" });

const banner = (page: Page): Locator => page.locator(".gate-banner:visible");
const button = (page: Page, name: string): Locator => page.getByRole("button", { name, exact: true });

async function fill(page: Page, name: string): Promise<void> {
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
}

/** What the page sends to make an account, each time. */
function signUpsOf(page: Page): Record<string, unknown>[] {
  const sent: Record<string, unknown>[] = [];
  page.on("request", (request) => {
    if (request.method() === "POST" && new URL(request.url()).pathname === "/api/sign-up")
      sent.push(request.postDataJSON());
  });
  return sent;
}

// From the level that was held the gate opens again in a minute or so, and the next file's newcomers don't wait for that.
test.afterEach(async ({ server }) => {
  await pin(server, "open");
  await pin(server, null);
});

test("an open door asks for nothing and tells of nothing", async ({ page }) => {
  const sent = signUpsOf(page);
  const status = page.waitForResponse((response) => new URL(response.url()).pathname === "/status");
  await page.goto("/sign-up");
  expect((await (await status).json()).registration.level).toBe("open");
  await expect(banner(page)).toHaveCount(0);
  const name = newName("Swimmer");
  await fill(page, name);
  await button(page, "Create account").click();
  await expect(composer(page)).toBeVisible();
  expect(sent).toEqual([{ name, password: PASSWORD }]);
});

test("a challenge is solved in workers, and the account is made by itself", async ({ page, server }) => {
  await pin(server, "challenge");
  const sent = signUpsOf(page);
  await page.goto("/sign-up");
  await expect(banner(page)).toContainText("open, with a short check");
  await expectAccessible(page);
  const worker = page.waitForEvent("worker");
  await fill(page, newName("Solver"));
  await button(page, "Create account").click();
  await worker;
  await expect(composer(page)).toBeVisible();
  expect(sent).toHaveLength(2);
  expect(sent[0]).not.toHaveProperty("challenge");
  expect(sent[1]?.["challenge"]).toMatch(/^[\w+/=]+$/);
  // All that is kept of a newcomer is gone with their being one.
  expect(await page.evaluate(() => Object.keys(localStorage).filter((key) => key.includes("place")))).toEqual(
    [],
  );
  expect(await page.evaluate(() => Object.keys(sessionStorage))).toEqual([]);
});

test("a challenge can be cancelled, and nothing that was entered is lost", async ({ page, server }) => {
  await pin(server, "suspended");
  // As if it were far more work.
  await page.route("**/api/sign-up", async (route) => {
    const response = await route.fetch();
    const body = await response.json();
    body.challenge.parameters.keyPrefix = "0".repeat(40);
    await route.fulfill({ response, json: body });
  });
  await page.goto("/sign-up");
  const name = newName("Impatient");
  await fill(page, name);
  await button(page, "Get a place in line").click();
  const progress = page.getByRole("progressbar", { name: "Progress of the check" });
  await expect(progress).toBeVisible();
  await expect
    .poll(() => progress.evaluate((bar: HTMLProgressElement) => bar.position))
    .toBeGreaterThanOrEqual(0);
  await expectAccessible(page);
  await screenshot(page, "gate-proof");
  await button(page, "Cancel").click();
  await expect(page.getByText("The check was cancelled.")).toBeVisible();
  await expect(progress).toHaveCount(0);
  await expect(page.getByLabel("Name", { exact: true })).toHaveValue(name);
  await expect(page.getByLabel("Password", { exact: true })).toHaveValue(PASSWORD);
  await expect.poll(() => page.workers().length).toBe(0);
});

test("one in line is called up, and the account is made by itself", async ({ page, server }) => {
  await pin(server, "waiting_list");
  const sent = signUpsOf(page);
  await page.goto("/sign-up");
  await expect(banner(page)).toContainText("by waiting list");
  await fill(page, newName("Patient"));
  await button(page, "Get a place in line").click();
  await expect(composer(page)).toBeVisible({ timeout: 90_000 });
  expect(sent.at(-1)?.["place"]).toEqual(expect.any(String));
});

test("a place outlives a reload and a change of the level; the password is asked for and nothing else", async ({
  page,
  server,
}) => {
  await pin(server, "invite_only");
  await page.goto("/sign-up");
  await expect(banner(page)).toContainText("by invitation only");
  const name = newName("Returning");
  await fill(page, name);
  await button(page, "Get a place in line").click();
  await expect(page.getByRole("heading", { name: "You have a place in line" })).toBeFocused();
  await expect(page.getByText("Nobody is ahead of you.")).toBeVisible();
  await expect(page.getByText("How long it takes can't be said now")).toBeVisible();
  await expectAccessible(page);
  await screenshot(page, "gate-place");
  await page.reload();
  await expect(page.getByText("Nobody is ahead of you.")).toBeVisible();
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  expect(kept).toContain(name);
  expect(kept).not.toContain(PASSWORD);
  await pin(server, "waiting_list");
  await expect(page.getByText("It's your turn.")).toBeVisible({ timeout: 90_000 });
  await expect(page.getByLabel("Name", { exact: true })).toHaveValue(name);
  await expect(page.getByLabel("Password", { exact: true })).toBeFocused();
  await expectAccessible(page);
  await page.keyboard.type(PASSWORD);
  await page.keyboard.press("Enter");
  await expect(composer(page)).toBeVisible();
});

test("a place can be given up", async ({ page, server }) => {
  await pin(server, "suspended");
  await page.goto("/sign-up");
  await fill(page, newName("Leaver"));
  await button(page, "Get a place in line").click();
  await expect(button(page, "Give up my place")).toBeVisible();
  const place = await page.evaluate(() => localStorage.getItem("cachalot.place.form"));
  const left = page.waitForResponse((response) => response.request().method() === "DELETE");
  await button(page, "Give up my place").click();
  expect((await left).status()).toBe(204);
  await expect(page.getByLabel("Name", { exact: true })).toBeFocused();
  const again = await page.request.post("/api/places", { data: { place }, headers: { origin: server.url } });
  expect(again.status()).toBe(410);
});

async function invitedPage(browser: Browser, server: Server, link: string): Promise<Page> {
  const context = await browser.newContext({ baseURL: server.url, locale: "en-GB" });
  const page = await context.newPage();
  await page.goto(link);
  return page;
}

test("an operator holds a level, and who is invited comes in all the same, once", async ({
  page,
  browser,
  server,
}) => {
  await page.context().addCookies(server.administrator.cookies);
  await page.goto("/admin/gate");
  await expect(page.getByRole("region", { name: "Now" })).toContainText("moves by itself");
  // Who is invited waits too while all is paused.
  await page.getByLabel("by invitation only").check();
  await page.getByLabel("Reason").fill("the harbour is full");
  await button(page, "Hold this level").click();
  await page.getByRole("alertdialog").getByRole("button", { name: "Hold it" }).click();
  await expect(page.getByText("New accounts are held at “by invitation only”.")).toBeVisible();
  await expect(page.getByRole("region", { name: "Now" })).toContainText("held by an operator");
  await button(page, "Make invitations").click();
  const link =
    (await page.getByRole("list", { name: "Invitation links" }).locator("code").textContent()) ?? "";
  expect(link).toContain(`${server.url}/sign-up#invitation=`);
  await expectAccessible(page);
  await page.setViewportSize({ width: 1280, height: 2200 });
  await screenshot(page, "gate-admin");

  const invited = await invitedPage(browser, server, link);
  await expect(invited.getByText("You were invited")).toBeVisible();
  expect(new URL(invited.url()).hash).toBe("");
  await invited.reload();
  await expect(invited.getByText("You were invited")).toBeVisible();
  await expectAccessible(invited);
  await fill(invited, newName("Guest"));
  await button(invited, "Create account").click();
  await expect(composer(invited)).toBeVisible();
  await invited.context().close();

  const second = await invitedPage(browser, server, link);
  await fill(second, newName("Guest"));
  await button(second, "Create account").click();
  await expect(second.getByText("This invitation was used already")).toBeVisible();
  await expect(button(second, "Get a place in line")).toBeVisible();
  await second.context().close();

  await button(page, "Let it run").click();
  await expect(page.getByText("The gate moves by itself again.")).toBeVisible();
  await page.goto("/admin/audit");
  await expect(page.getByText("New accounts: level held").first()).toBeVisible();
  await expect(page.getByText("the harbour is full")).toBeVisible();
});

test("who has an account signs in as usual, and is told so in their language; then they see nothing of it", async ({
  browser,
  server,
}) => {
  await pin(server, "suspended");
  const words = {
    English: "Sign in as usual.",
    Français: "Connectez-vous comme d'habitude.",
    中文: "请照常登录。",
  };
  for (const { name, locale } of tongues) {
    const context = await browser.newContext({ baseURL: server.url, locale, ...screens.phone });
    const page = await context.newPage();
    await page.goto("/login");
    await expect(page.getByText(words[name])).toBeVisible();
    await expectFits(page);
    await expectAccessible(page);
    await screenshot(page, `gate-login-${locale}`);
    await context.close();
  }
  const person = await addPerson(server);
  const page = await pageOf(browser, server, person);
  const asked: string[] = [];
  page.on("request", (request) => asked.push(new URL(request.url()).pathname));
  await page.goto("/");
  await expect(composer(page)).toBeVisible();
  await expect(banner(page)).toHaveCount(0);
  expect(asked).not.toContain("/status");
  await page.context().close();
});

test("the login works at the strictest level", async ({ page, server }) => {
  await pin(server, "suspended");
  const person = await addPerson(server);
  await page.goto("/login");
  await expect(banner(page)).toContainText("Sign in as usual.");
  await page.getByLabel("Name or email address").fill(person.name);
  await page.getByLabel("Password", { exact: true }).fill(person.password);
  await button(page, "Sign in").click();
  await expect(composer(page)).toBeVisible();
});

test("the public page tells how it stands, follows by itself, and is one address with the answer for programs", async ({
  page,
  server,
}) => {
  await pin(server, "waiting_list");
  const answer = await page.request.get("/status");
  expect(answer.headers()["cache-control"]).toBe("no-store");
  const { registration, moves } = await answer.json();
  expect(registration).toMatchObject({ level: "waiting_list", pinned: true, offered: true });
  expect(moves[0]).toMatchObject({ to: "waiting_list", reasons: [{ reason: "pinned" }] });

  await page.goto("/status");
  const door = page.getByRole("region", { name: "New accounts" });
  await expect(door).toContainText("by waiting list");
  await expect(door).toContainText("Set by an operator");
  await expect(
    page.getByRole("list", { name: "What has changed" }).getByRole("listitem").first(),
  ).toContainText("to “by waiting list”");
  await expectAccessible(page);
  await pin(server, "suspended");
  await expect(page.getByText("New accounts are now: paused.")).toBeAttached();
  await expect(door).toContainText("paused");
});

for (const [screen, options] of Object.entries(screens)) {
  test(`the public page and the sign-up fit on a ${screen} in every language, light and dark`, async ({
    browser,
    server,
  }) => {
    await pin(server, "waiting_list");
    for (const { locale } of tongues) {
      for (const colorScheme of ["light", "dark"] as const) {
        const context = await browser.newContext({ baseURL: server.url, locale, colorScheme, ...options });
        const page = await context.newPage();
        for (const path of ["status", "sign-up"]) {
          await page.goto(`/${path}`);
          await expect(page.locator('a[href="/status"], .gate-state').first()).toBeVisible();
          await expectFits(page);
          await expectAccessible(page);
          await screenshot(page, `gate-${path}-${screen}-${locale}-${colorScheme}`);
        }
        await context.close();
      }
    }
  });
}

test("signing in is not what an invitation's page keeps one from", async ({ page, server }) => {
  await pin(server, "suspended");
  const person = await addPerson(server);
  expect(await enter(page, server, person)).toBe(true);
  await page.goto("/sign-up#invitation=none");
  await expect(composer(page)).toBeVisible();
});
