import { readFile } from "node:fs/promises";
import type { Browser, Locator, Page } from "@playwright/test";
import { expect, expectAccessible, screenshot, test } from "./fixtures";
import { Server } from "./server";
import { addPerson, expectFits, pageOf, screens, tongues } from "./users";

// What a refusal leaves on the browser's console.
test.use({ expectedErrors: [/status of (?:401|403|404|422)/] });

const PRICES = `[credit]
currency = "EUR"
[[price]]
hit = "1"
miss = "2"
output = "4"
`;

const press = (place: Page | Locator, name: string): Promise<void> =>
  place.getByRole("button", { name, exact: true }).click();
const section = (page: Page, name: string): Locator => page.getByRole("region", { name, exact: true });
const heading = (page: Page, name: string): Locator =>
  page.getByRole("heading", { level: 1, name, exact: true });
const requests = (page: Page): Locator => section(page, "Newest requests").locator("tbody tr");

const counted = (count: number): string => count.toLocaleString("en");

let priced: Server;

test.beforeAll(async () => {
  priced = await Server.create(() => ({ file: PRICES }));
});
test.afterAll(async () => priced.dispose());

/** A page of the administrator of the server with prices. */
async function pageOfAdministrator(browser: Browser, options = {}): Promise<Page> {
  const context = await browser.newContext({
    baseURL: priced.url,
    storageState: priced.administrator,
    locale: "en-GB",
    ...options,
  });
  return context.newPage();
}

/** Gives credit on the page of a user, as an administrator does. */
async function grant(page: Page, user: string, amount: string, note: string): Promise<void> {
  await page.goto(`/admin/users/${user}`);
  const balance = section(page, "Balance");
  await balance.getByText("Change the balance").click();
  await balance.getByLabel(/^Amount/).fill(amount);
  await balance.getByLabel("Note").fill(note);
  await press(balance, "Continue");
  await press(page.getByRole("alertdialog"), "Give it");
  await expect(balance).toContainText("The balance is changed.");
}

/** Makes a key, whose text is shown once. */
async function makeKey(page: Page, name: string): Promise<string> {
  await page.goto("/keys");
  await press(page, "New key");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill(name);
  await press(dialog, "Create key");
  await expect(dialog).toContainText("it is shown this once");
  const secret = (await dialog.locator(".secret code").textContent()) ?? "";
  expect(secret).toMatch(/^sk-cachalot-[\w-]{40,}$/);
  // It isn't lost by a slip.
  await page.keyboard.press("Escape");
  await expect(dialog).toBeVisible();
  await expectAccessible(page);
  await press(dialog, "I have copied it");
  await expect(dialog).toBeHidden();
  await expect(page.getByRole("button", { name: "New key" })).toBeFocused();
  return secret;
}

interface Answer {
  status: number;
  tokens: number;
}

/** Asks as a program does. */
async function complete(secret: string): Promise<Answer> {
  const headers = { authorization: `Bearer ${secret}`, "content-type": "application/json" };
  const list = await fetch(`${priced.url}/v1/models`, { headers });
  const models = list.ok ? ((await list.json()) as { data: { id: string }[] }).data : [];
  const response = await fetch(`${priced.url}/v1/chat/completions`, {
    method: "POST",
    headers,
    body: JSON.stringify({
      model: models[0]?.id ?? "any",
      messages: [{ role: "user", content: "Say hello." }],
      max_tokens: 12,
      temperature: 0,
    }),
  });
  const body = (await response.json()) as { usage?: { prompt_tokens: number; completion_tokens: number } };
  const { prompt_tokens = 0, completion_tokens = 0 } = body.usage ?? {};
  return { status: response.status, tokens: prompt_tokens + completion_tokens };
}

test("a key is shown once, is good for requests that are counted, and ends when it is revoked", async ({
  browser,
}) => {
  const person = await addPerson(priced);
  const administrator = await pageOfAdministrator(browser);
  await grant(administrator, person.id, "2.50", "for a try");
  const page = await pageOf(browser, priced, person);
  const secret = await makeKey(page, "robot");
  await page.reload();
  await expect(page.locator(".device")).toHaveCount(1);
  await expect(page.locator(".device")).toContainText("not used yet");
  expect(await page.content()).not.toContain(secret);

  const { status, tokens } = await complete(secret);
  expect(status).toBe(200);
  expect(tokens).toBeGreaterThan(2);

  await page.getByRole("link", { name: "Usage", exact: true }).click();
  await expect(heading(page, "Usage")).toBeFocused();
  await expect(section(page, "Balance")).toContainText("Available");
  await section(page, "Balance").getByText("What was given and taken back").click();
  await expect(section(page, "Balance").getByRole("row").filter({ hasText: "for a try" })).toContainText(
    "€2.50",
  );
  await expect(section(page, "Overview")).toContainText(`1 request · ${counted(tokens)} tokens`);
  for (const day of ["30 days", "Today", "7 days", "90 days"]) {
    await page.getByText(day, { exact: true }).click();
    await expect(section(page, "Overview")).toContainText(`1 request · ${counted(tokens)} tokens`);
    await expect(page.locator("svg.chart-bars").first().locator('rect[class^="series"]')).not.toHaveCount(0);
  }
  const table = page.getByRole("group", { name: "Tokens", exact: true });
  await page.getByText("The numbers as a table").first().click();
  await expect(table.getByRole("cell").last()).toHaveText(counted(tokens));
  await expect(requests(page)).toHaveCount(1);
  await expect(requests(page)).toContainText("robot");
  await expect(requests(page)).toContainText("/v1/chat/completions");
  await expect(requests(page)).toContainText("complete");
  await expectAccessible(page);
  await screenshot(page, "usage");

  const download = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download as CSV" }).click();
  const lines = (await readFile(await (await download).path(), "utf8")).trim().split("\r\n");
  expect(lines).toHaveLength(2);
  expect(lines[0]).toMatch(/^time,user,key,endpoint,model,/);
  expect(lines[1]).toContain("/v1/chat/completions");

  // Another key has no part in it.
  await makeKey(page, "idle");
  await page.getByRole("link", { name: "Usage of the key idle" }).click();
  await expect(page.getByLabel("Key", { exact: true })).toHaveValue(/./);
  await expect(section(page, "Overview")).toContainText("Nothing was asked for in this time.");
  await page.getByLabel("Key", { exact: true }).selectOption({ label: "robot" });
  await expect(requests(page)).toHaveCount(1);

  // The last use is noted once in a while, not at every request.
  await expect(async () => {
    await page.goto("/keys");
    await expect(page.locator(".device").filter({ hasText: "robot" })).toContainText("last used", {
      timeout: 2000,
    });
  }).toPass({ timeout: 90_000 });
  await press(page, "Revoke the key robot");
  await press(page.getByRole("alertdialog"), "Revoke");
  await expect(page.locator(".device")).toHaveCount(1);
  await expect(page.getByText("The key “robot” is revoked.")).toBeVisible();
  expect((await complete(secret)).status).toBe(401);
  await page.context().close();
  await administrator.context().close();
});

test("what a key may do is changed", async ({ browser }) => {
  const person = await addPerson(priced);
  const page = await pageOf(browser, priced, person);
  await makeKey(page, "careful");
  await press(page, "Edit the key careful");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Requests a day").fill("many");
  await press(dialog, "Save");
  await expect(dialog.getByLabel("Requests a day")).toBeFocused();
  await expect(dialog).toContainText("Enter a whole number from 1");
  await dialog.getByLabel("Requests a day").fill("1500");
  await dialog.getByLabel(/^Spend at most/).fill("12.50");
  await dialog.getByLabel("Only from these addresses").fill("10.0.0.0/99");
  await press(dialog, "Save");
  // The server alone knows what a range is.
  await expect(dialog.getByLabel("Only from these addresses")).toBeFocused();
  await dialog.getByLabel("Only from these addresses").fill("192.0.2.7, 2001:db8::/32");
  await dialog.getByLabel("Good until the end of").fill("2150-12-31");
  await press(dialog, "Save");
  await expect(dialog).toBeHidden();
  const key = page.locator(".device");
  await expect(key).toContainText("€0.00 of €12.50 spent");
  await expect(key).toContainText("1,500 requests a day");
  await expect(key).toContainText("only from 192.0.2.7/32, 2001:db8::/32");
  await expect(key).toContainText("expires on Dec 31, 2150");
  await page.context().close();
});

test("operators see the usage of all, and administrators give and take credit", async ({ browser }) => {
  const operator = await addPerson(priced, "operator");
  const person = await addPerson(priced);
  const administrator = await pageOfAdministrator(browser);
  await grant(administrator, person.id, "3", "");
  const theirs = await pageOf(browser, priced, person);
  const { status, tokens } = await complete(await makeKey(theirs, "script"));
  expect(status).toBe(200);

  const page = await pageOf(browser, priced, operator);
  await page.goto("/admin/usage");
  await expect(heading(page, "Usage")).toBeFocused();
  await expect(requests(page).first()).toContainText(person.name);
  await expect(section(page, "Prices").locator("tbody tr")).toHaveCount(1);
  await expect(section(page, "Prices")).toContainText("€4.00");
  await page.getByRole("combobox", { name: "Only this user" }).fill(person.name);
  await page.getByRole("option", { name: person.name }).click();
  await expect(page).toHaveURL(new RegExp(`user=${person.id}`));
  await expect(page.getByText(`Usage of ${person.name}`)).toBeVisible();
  await expect(section(page, "Overview")).toContainText(`1 request · ${counted(tokens)} tokens`);
  await expectAccessible(page);
  await screenshot(page, "admin-usage");

  await requests(page).getByRole("link", { name: person.name }).click();
  await expect(heading(page, person.name)).toBeVisible();
  await expect(section(page, "Balance")).toContainText("Available");
  await expect(section(page, "Balance").getByText("Change the balance")).toHaveCount(0);
  await press(section(page, "API keys"), "Revoke the key script");
  await press(page.getByRole("alertdialog"), "Revoke");
  await expect(section(page, "API keys")).toContainText("No keys.");
  await page.context().close();

  // As much is taken back as is there.
  const balance = section(administrator, "Balance");
  await administrator.goto(`/admin/users/${person.id}`);
  await balance.getByText("Change the balance").click();
  await balance.getByLabel("Take back from what was granted").check();
  await balance.getByLabel(/^Amount/).fill("100");
  await press(balance, "Continue");
  await expect(administrator.getByRole("alertdialog")).toContainText(
    `Take €100.00 back from ${person.name}?`,
  );
  await press(administrator.getByRole("alertdialog"), "Take it back");
  await expect(balance.locator(".balance-available")).toHaveText("€0.00");
  await administrator.goto(`/admin/audit?user=${person.id}`);
  await expect(administrator.getByText("Credit taken back")).toBeVisible();
  await expect(administrator.getByText("API key revoked")).toBeVisible();
  await administrator.context().close();
  await theirs.context().close();
});

test.describe("where nothing costs anything", () => {
  test("no page speaks of money", async ({ page }) => {
    await page.goto("/usage");
    await expect(heading(page, "Usage")).toBeFocused();
    await expect(section(page, "Overview")).toBeVisible();
    await expect(section(page, "Balance")).toHaveCount(0);
    await expect(page.getByText("Cost", { exact: true })).toHaveCount(0);
    await page.goto("/admin/usage");
    await expect(section(page, "Prices")).toContainText("Nothing costs anything");
  });
});

test.describe("whoever is not signed in", () => {
  test.use({ signedIn: false });

  test("reads what programs can ask, and no more", async ({ page }) => {
    await page.goto("/reference");
    await expect(heading(page, "API reference")).toBeFocused();
    await expect(page.getByRole("link", { name: "API keys" })).toHaveCount(0);
    await page.getByRole("searchbox").fill("chat completions");
    const endpoint = page.locator(".endpoint").filter({ hasText: "/v1/chat/completions" });
    await expect(page.locator(".endpoint")).toHaveCount(await endpoint.count());
    await endpoint.first().locator("> summary").focus();
    await page.keyboard.press("Enter");
    await expect(endpoint.first()).toContainText("messages");
    await expect(endpoint.first()).toContainText("required");
    await expect(endpoint.first()).toContainText("curl -X POST");
    await expectAccessible(page);
    await screenshot(page, "reference");
    await page.goto("/keys");
    await expect(page).toHaveURL(/\/login\?next=%2Fkeys$/);
  });
});

for (const [screen, options] of Object.entries(screens)) {
  for (const [index, { name, locale }] of tongues.entries()) {
    test(`the pages are accessible and fit, on a ${screen} in ${name}`, async ({ browser }) => {
      const page = await pageOfAdministrator(browser, {
        ...options,
        locale,
        colorScheme: index === 1 ? "dark" : "light",
      });
      await page.request.post("/api/keys", { data: { name: "robot" }, headers: { origin: priced.url } });
      const see = async (path: string, ready: Locator) => {
        await page.goto(path);
        await expect(ready.first()).toBeVisible();
        await expect(page.locator("html")).toHaveAttribute("lang", locale.slice(0, 2));
        await expectAccessible(page);
        await expectFits(page);
        await screenshot(page, `programs${path.replaceAll("/", "-")}-${screen}-${index}`);
      };
      await see("/keys", page.locator(".device"));
      await page.locator(".admin-head .button-accent").click();
      await page.getByRole("dialog").locator("summary").click();
      await expectAccessible(page);
      await screenshot(page, `programs-dialog-${screen}-${index}`);
      await page.keyboard.press("Escape");
      await see("/usage", page.locator(".account-section"));
      await see("/admin/usage", page.locator(".table:visible"));
      await see("/reference", page.locator(".endpoint"));
      await page.locator(".endpoint > summary").first().click();
      await expectAccessible(page);
      await expectFits(page);
      await page.context().close();
    });
  }
}
