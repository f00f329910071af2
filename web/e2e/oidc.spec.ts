import type { Locator, Page } from "@playwright/test";
import { composer, expect, expectAccessible, screenshot, test } from "./fixtures";
import { CLIENT, Harbour } from "./provider";
import { Server } from "./server";

const PASSWORD = "nine deep dives";

const press = (place: Page | Locator, name: string): Promise<void> =>
  place.getByRole("button", { name, exact: true }).click();
const section = (page: Page, name: string): Locator => page.getByRole("region", { name, exact: true });
const links = (page: Page): Locator => section(page, "Linked sign-ins");

/** Says at the provider who one is, on the way that has been taken there. */
async function board(page: Page, sailor: string): Promise<void> {
  await expect(page).toHaveTitle("The harbour");
  await page.getByLabel("Sailor").fill(sailor);
  await press(page, "Go aboard");
}

async function signInAs(page: Page, at: string, sailor: string): Promise<void> {
  // Both the server and the provider forget the browser.
  await page.context().clearCookies();
  await page.goto(`${at}/login?next=/account`);
  await page.getByRole("link", { name: "Continue with The harbour" }).click();
  await board(page, sailor);
}

/** Asks to link the provider, and says who it is that asks. */
async function askToLink(page: Page): Promise<void> {
  await page.getByRole("button", { name: "Link The harbour", exact: true }).click();
  await page.getByRole("dialog").getByLabel("Your password, to confirm").fill(PASSWORD);
  await press(page.getByRole("dialog"), "Link The harbour");
}

async function signUp(page: Page, at: string, name: string): Promise<void> {
  await page.context().clearCookies();
  await page.goto(`${at}/sign-up`);
  await page.getByLabel("Name", { exact: true }).fill(name);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await press(page, "Create account");
  await expect(composer(page)).toBeVisible();
  await page.goto(`${at}/account`);
}

test.describe("where a provider vouches", () => {
  let harbour: Harbour;
  let harboured: Server;

  test.beforeAll(async () => {
    harbour = await Harbour.open(() => `${harboured.url}/oidc/harbour/callback`);
    harboured = await Server.create((url) => ({
      file: `public_url = "${url}"
[[oidc]]
id = "harbour"
name = "The harbour"
issuer = "${harbour.issuer}"
client_id = "${CLIENT.id}"
client_secret = "${CLIENT.secret}"
creates_accounts = true
private = true
`,
    }));
  });
  test.afterAll(async () => {
    await harboured.dispose();
    harbour.close();
  });
  test.use({ signedIn: false, expectedErrors: [/status of (?:401|403|409)/] });

  test("it opens an account that it made, and is its last way in", async ({ page }) => {
    const at = harboured.url;
    await page.goto(`${at}/login`);
    await page.getByRole("link", { name: "Continue with The harbour" }).click();
    await expect(page).toHaveTitle("The harbour");
    await press(page, "Turn back");
    await expect(page.getByRole("alert")).toContainText("cancelled or refused");
    await expectAccessible(page);
    await screenshot(page, "provider-refused");

    await signInAs(page, at, "Ishmael");
    await expect(page).toHaveURL(`${at}/account`);
    await expect(section(page, "Profile")).toContainText("Ishmael");
    await expect(section(page, "Profile")).toContainText("ishmael@harbour.example");
    await expect(links(page).locator(".device")).toContainText("The harbour");
    await expectAccessible(page);
    await screenshot(page, "provider-account");

    await press(links(page), "Unlink The harbour");
    await press(page.getByRole("dialog"), "Unlink");
    await expect(page.getByRole("dialog")).toContainText("This is your last way in.");
    await page.keyboard.press("Escape");

    // The same person comes back to the same account, and another one to another.
    await signInAs(page, at, "Ishmael");
    await expect(section(page, "Profile")).toContainText("Ishmael");
    await expect(section(page, "Where you are signed in").locator(".device")).toHaveCount(2);
    await signInAs(page, at, "Queequeg");
    await expect(section(page, "Profile")).toContainText("Queequeg");
    await expect(section(page, "Where you are signed in").locator(".device")).toHaveCount(1);
  });

  test("it opens an account that one had before, once they are linked", async ({ page }) => {
    const at = harboured.url;
    await signUp(page, at, "Starbuck");
    await askToLink(page);
    await board(page, "First mate");
    await expect(page).toHaveURL(`${at}/account`);
    await expect(links(page).locator(".device")).toContainText("The harbour");
    await expect(page.getByRole("button", { name: "Link The harbour", exact: true })).toHaveCount(0);
    await signInAs(page, at, "First mate");
    await expect(section(page, "Profile")).toContainText("Starbuck");

    await signUp(page, at, "Stubb");
    await askToLink(page);
    await board(page, "First mate");
    await expect(page.getByRole("alert")).toContainText("belongs to another account here");
    await expect(section(page, "Profile")).toContainText("Stubb");
    await expect(links(page).locator(".device")).toHaveCount(0);

    await signInAs(page, at, "First mate");
    await press(links(page), "Unlink The harbour");
    await page.getByRole("dialog").getByLabel("Your password, to confirm").fill(PASSWORD);
    await press(page.getByRole("dialog"), "Unlink");
    await expect(links(page).locator(".device")).toHaveCount(0);
    await expect(page.getByRole("button", { name: "Link The harbour", exact: true })).toBeVisible();
  });
});
