import type { Browser, Locator, Page } from "@playwright/test";
import { composer, expect, expectAccessible, screenshot, test } from "./fixtures";
import { ADMINISTRATOR, Server } from "./server";

// What a refusal leaves on the browser's console.
const refusals = [/status of (?:401|403|404|409|422|429)/];
const PASSWORD = "nine deep dives";

let made = 0;
/** A name that nobody has yet. */
const newName = (): string => {
  made += 1;
  return `Sailor ${made} ${process.pid}`;
};

const field = (page: Page, label: string): Locator => page.getByLabel(label, { exact: true });
const press = (page: Page, name: string): Promise<void> =>
  page.getByRole("button", { name, exact: true }).click();
const settings = (page: Page): Locator => page.locator(".side-foot button");

/** The text that a screen reader reads with a field. */
async function descriptionOf(input: Locator): Promise<string> {
  return input.evaluate((element) =>
    (element.getAttribute("aria-describedby") ?? "")
      .split(" ")
      .map((id) => document.getElementById(id)?.textContent ?? "")
      .join(" "),
  );
}

async function signUp(page: Page, name: string): Promise<void> {
  await page.goto("/sign-up");
  await field(page, "Name").fill(name);
  await field(page, "Password").fill(PASSWORD);
  await press(page, "Create account");
  await expect(composer(page)).toBeVisible();
}

async function signIn(page: Page, name: string, password: string): Promise<void> {
  await field(page, "Name or email address").fill(name);
  await field(page, "Password").fill(password);
  await press(page, "Sign in");
}

async function signOut(page: Page): Promise<void> {
  await settings(page).click();
  await page.getByRole("menuitem", { name: "Sign out" }).click();
  await expect(page.getByText("You are signed out.")).toBeVisible();
}

/** A page in a browser of its own, where nobody is signed in. */
async function otherBrowser(browser: Browser, server: Server): Promise<Page> {
  const context = await browser.newContext({ baseURL: server.url, locale: "en-GB" });
  return context.newPage();
}

test.use({ signedIn: false, expectedErrors: refusals });

test("the link from the terminal makes the first administrator, once", async ({ page }) => {
  const empty = await Server.createEmpty();
  try {
    const link = await empty.setupLink();
    await page.goto(empty.url);
    await expect(page).toHaveURL(/\/setup$/);
    await expect(page.getByRole("heading", { name: "Welcome to Cachalot" })).toBeVisible();
    await expect(field(page, "Setup link")).toBeFocused();
    await field(page, "Setup link").fill(`${empty.url}/setup#wrong`);
    await field(page, "Name").fill(ADMINISTRATOR.name);
    await field(page, "Password").fill(ADMINISTRATOR.password);
    await press(page, "Create administrator");
    await expect(page.getByText("This link isn't valid.")).toBeVisible();
    await expect(field(page, "Setup link")).toBeFocused();
    await expectAccessible(page);

    await page.goto("about:blank");
    await page.goto(link);
    await expect(field(page, "Setup link")).toHaveCount(0);
    await expect(field(page, "Name")).toBeFocused();
    await screenshot(page, "setup");
    await field(page, "Name").fill(ADMINISTRATOR.name);
    await field(page, "Password").fill(ADMINISTRATOR.password);
    await press(page, "Create administrator");
    await expect(composer(page)).toBeVisible();
    await expect(page).toHaveURL(`${empty.url}/`);
    await settings(page).click();
    await page.getByRole("menuitem", { name: "Account" }).click();
    await expect(page.getByText("Administrator", { exact: true })).toBeVisible();

    await page.context().clearCookies();
    await page.goto("about:blank");
    await page.goto(link);
    await expect(page).toHaveURL(/\/login$/);
    await expect(page.getByRole("heading", { name: "Sign in" })).toBeVisible();
  } finally {
    await empty.dispose();
  }
});

test("a stranger makes an account, and what is wrong with it is told at its field", async ({ page }) => {
  const name = newName();
  await page.goto("/");
  await expect(page).toHaveURL(/\/login$/);
  await page.getByRole("link", { name: "Create one" }).click();
  await expect(page).toHaveURL(/\/sign-up$/);
  await expect(field(page, "Name")).toHaveAttribute("autocomplete", "username");
  await expect(field(page, "Password")).toHaveAttribute("autocomplete", "new-password");
  await field(page, "Name").fill("a@b");
  await field(page, "Password").fill("short");
  await press(page, "Create account");
  await expect(field(page, "Name")).toBeFocused();
  await expect.poll(() => descriptionOf(field(page, "Name"))).toContain("can't have an @");
  await expect.poll(() => descriptionOf(field(page, "Password"))).toContain("8 to 256 characters");
  await expectAccessible(page);
  await screenshot(page, "sign-up-problems");

  await field(page, "Name").fill(ADMINISTRATOR.name.toUpperCase());
  await field(page, "Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Show password" }).click();
  await expect(field(page, "Password")).toHaveAttribute("type", "text");
  await press(page, "Create account");
  await expect(field(page, "Name")).toBeFocused();
  await expect.poll(() => descriptionOf(field(page, "Name"))).toContain("This name is taken.");

  await field(page, "Name").fill(name);
  await field(page, "Password").fill("password");
  await press(page, "Create account");
  await expect(page.getByText("This password is known from data leaks.")).toBeVisible();
  await field(page, "Password").fill(PASSWORD);
  await press(page, "Create account");
  await expect(composer(page)).toBeFocused();
  await expect(page).toHaveURL(/\/$/);
  await page.reload();
  await settings(page).click();
  await expect(page.getByRole("menu")).toContainText(name);
});

test("one signs in, not with a wrong password, and comes back to where one was", async ({ page }) => {
  await page.goto("/account");
  await expect(page).toHaveURL(/\/login\?next=%2Faccount$/);
  await signIn(page, ADMINISTRATOR.name, "not the password");
  const password = field(page, "Password");
  await expect(password).toBeFocused();
  await expect.poll(() => descriptionOf(password)).toContain("The name or the password is wrong.");
  await screenshot(page, "wrong-password");
  await signIn(page, "nobody of this name", ADMINISTRATOR.password);
  await expect.poll(() => descriptionOf(password)).toContain("The name or the password is wrong.");
  await signIn(page, ADMINISTRATOR.name.toLowerCase(), ADMINISTRATOR.password);
  await expect(page).toHaveURL(/\/account$/);
  await expect(page.getByRole("heading", { name: "Account", exact: true })).toBeFocused();
  await page.goBack();
  await expect(page).not.toHaveURL(/\/login/);
});

for (const next of ["//whale.invalid/", "https://whale.invalid/", "javascript:alert(1)", "/api/session"]) {
  test(`signing in leads nowhere else: ${next}`, async ({ page, server }) => {
    await page.goto(`/login?next=${encodeURIComponent(next)}`);
    await signIn(page, ADMINISTRATOR.name, ADMINISTRATOR.password);
    await expect(composer(page)).toBeVisible();
    await expect(page).toHaveURL(`${server.url}/`);
  });
}

test("a revoked session brings the login back, and after it what one was doing", async ({
  page,
  browser,
  server,
}) => {
  const name = newName();
  await signUp(page, name);
  await composer(page).fill("Half a thought");
  const other = await otherBrowser(browser, server);
  await other.goto("/login?next=/account");
  await signIn(other, name, PASSWORD);
  await expect(other.locator(".device")).toHaveCount(2);
  await expect(other.locator(".device").first()).toContainText("This device");
  await expectAccessible(other);
  await screenshot(other, "account");
  await other.getByRole("button", { name: "Sign out everywhere else" }).click();
  await expect(other.getByText("You are signed out everywhere else.")).toBeVisible();
  await expect(other.locator(".device")).toHaveCount(1);

  // Revocation may take a few seconds to reach every request.
  await expect(async () => {
    await composer(page).press("Enter");
    await expect(page.getByText("Your session has ended.")).toBeVisible({ timeout: 1500 });
  }).toPass({ timeout: 30_000 });
  await screenshot(page, "session-ended");
  await signIn(page, name, PASSWORD);
  await expect(composer(page)).toHaveValue("Half a thought");
  await other.context().close();
});

test("a changed password is the only one that holds", async ({ page }) => {
  const name = newName();
  const chosen = "ten deeper dives";
  await signUp(page, name);
  await page.goto("/account");
  await field(page, "Current password").fill("not the password");
  await field(page, "New password").fill(chosen);
  await press(page, "Change password");
  await expect(field(page, "Current password")).toBeFocused();
  await expect
    .poll(() => descriptionOf(field(page, "Current password")))
    .toContain("This isn't your password.");
  await field(page, "Current password").fill(PASSWORD);
  await press(page, "Change password");
  await expect(page.getByText("Your password is changed")).toBeVisible();
  await page.getByRole("link", { name: "Back to the chats" }).click();
  await signOut(page);
  await signIn(page, name, PASSWORD);
  await expect(page.getByText("The name or the password is wrong.")).toBeVisible();
  await signIn(page, name, chosen);
  await expect(composer(page)).toBeVisible();
});

test("an account is deleted with its password only, and for ever", async ({ page }) => {
  const name = newName();
  await signUp(page, name);
  await page.goto("/account");
  await press(page, "Delete account…");
  const dialog = page.getByRole("dialog");
  await expect(dialog).toContainText(name);
  await expect(dialog).toContainText("destroyed at once, for ever");
  const password = dialog.getByLabel("Your password, to confirm");
  await expect(password).toBeFocused();
  await password.fill("not the password");
  await password.press("Enter");
  await expect(dialog).toContainText("This isn't your password.");
  await expectAccessible(page);
  await screenshot(page, "delete-account");
  await password.fill(PASSWORD);
  await dialog.getByRole("button", { name: "Delete for ever" }).click();
  await expect(page.getByText("Your account and all its chats are deleted.")).toBeVisible();
  await expect(page).toHaveURL(/\/login$/);
  await signIn(page, name, PASSWORD);
  await expect(page.getByText("The name or the password is wrong.")).toBeVisible();
});

test("the last administrator can't be deleted", async ({ page }) => {
  await page.goto("/login?next=/account");
  await signIn(page, ADMINISTRATOR.name, ADMINISTRATOR.password);
  await press(page, "Delete account…");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Your password, to confirm").fill(ADMINISTRATOR.password);
  await dialog.getByRole("button", { name: "Delete for ever" }).click();
  await expect(dialog).toContainText("You are the last administrator.");
});

test("another user's chat is one that doesn't exist", async ({ page, browser, server }) => {
  const owner = await browser.newContext({ baseURL: server.url, storageState: server.administrator });
  const response = await owner.request.post("/api/conversations", {
    data: {},
    headers: { origin: server.url },
  });
  expect(response.status()).toBe(201);
  const { id } = (await response.json()) as { id: string };
  await owner.close();
  await signUp(page, newName());
  await page.goto(`/c/${id}`);
  await expect(page.getByRole("alert")).toContainText("This chat doesn't exist");
  await expect(page.locator(".side-item")).toHaveCount(0);
  await screenshot(page, "foreign-chat");
});

test("nothing of one user is left for the next", async ({ page, context }) => {
  const name = newName();
  await signUp(page, name);
  await composer(page).fill("For nobody else's eyes");
  const second = await context.newPage();
  await second.goto("/account");
  await expect(second.getByText(name)).toBeVisible();
  await signOut(page);
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  expect(kept).not.toContain("For nobody");
  // The other tab learns of it by itself.
  await expect(second.getByRole("heading", { name: "Sign in" })).toBeVisible();
  await signUp(page, newName());
  await expect(composer(page)).toHaveValue("");
  await expect(second.getByText(name)).toHaveCount(0);
});

const tongues = [
  { language: "English", login: "Sign in", signUp: "Create an account", account: "Account" },
  { language: "Français", login: "Connexion", signUp: "Créer un compte", account: "Compte" },
  { language: "中文", login: "登录", signUp: "注册账户", account: "账户" },
];
const screens = {
  desktop: { viewport: { width: 1280, height: 860 } },
  phone: { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};

for (const [screen, options] of Object.entries(screens)) {
  test.describe(`on a ${screen}`, () => {
    test.use(options);

    for (const [index, tongue] of tongues.entries()) {
      test(`the pages are accessible and fit, in ${tongue.language}`, async ({ page, server }) => {
        await page.emulateMedia({ colorScheme: index === 1 ? "dark" : "light" });
        await page.goto("/login");
        await page.locator(".entry-head button").click();
        await page.getByRole("menuitemradio", { name: tongue.language }).click();
        const see = async (heading: string, name: string) => {
          await expect(page.getByRole("heading", { name: heading, exact: true, level: 1 })).toBeVisible();
          await expect(page.getByRole("menu")).toBeHidden();
          await expectAccessible(page);
          const [inner, outer] = await page.evaluate(() => [
            document.documentElement.scrollWidth,
            window.innerWidth,
          ]);
          expect(inner).toBe(outer);
          await screenshot(page, `${name}-${screen}-${index}`);
        };
        await see(tongue.login, "login");
        await page.goto("/sign-up");
        await see(tongue.signUp, "sign-up");
        await page.context().addCookies(server.administrator.cookies);
        await page.goto("/account");
        await expect(page.locator(".device").first()).toBeVisible();
        await see(tongue.account, "account");
      });
    }
  });
}

test.describe("when the server is busy", () => {
  test.use({ expectedErrors: [/status of (?:429|503)/] });

  test("one is told how long to wait, and may then try again", async ({ page }) => {
    let status = 429;
    await page.route("**/api/login", (route) =>
      route.fulfill({
        status,
        headers: { "retry-after": "2" },
        json: { error: { message: "wait", code: status === 429 ? "too_many_attempts" : "busy" } },
      }),
    );
    await page.goto("/login");
    await signIn(page, ADMINISTRATOR.name, ADMINISTRATOR.password);
    await expect(page.getByRole("alert")).toContainText(
      "There were too many attempts. Try again in 2 seconds.",
    );
    const button = page.getByRole("button", { name: /^Sign in/ });
    await expect(button).toHaveAttribute("aria-disabled", "true");
    await screenshot(page, "too-many-attempts");
    await expect(button).toHaveAttribute("aria-disabled", "false");
    status = 503;
    await button.click();
    await expect(page.getByRole("alert")).toContainText("The server is busy right now.");
    await expect(button).toHaveAttribute("aria-disabled", "false");
    await page.unroute("**/api/login");
    await button.click();
    await expect(composer(page)).toBeVisible();
  });
});

test("the keyboard alone is enough", async ({ page }) => {
  await page.goto("/login");
  await expect(field(page, "Name or email address")).toBeFocused();
  await page.keyboard.type(ADMINISTRATOR.name);
  await page.keyboard.press("Tab");
  await page.keyboard.type(ADMINISTRATOR.password);
  await page.keyboard.press("Enter");
  await expect(composer(page)).toBeFocused();
  await settings(page).focus();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("menuitem", { name: "Account" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(page.getByRole("heading", { name: "Account", exact: true })).toBeFocused();
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Shift+Tab");
  await expect(page.getByRole("link", { name: "Back to the chats" })).toBeFocused();
  await page.keyboard.press("Enter");
  await expect(composer(page)).toBeFocused();
});
