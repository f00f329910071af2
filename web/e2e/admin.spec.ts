import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import type { Locator, Page } from "@playwright/test";
import type { Group } from "../src/api/admin";
import { EVERYONE } from "../src/api/admin";
import {
  answers,
  ask,
  composer,
  ended,
  expect,
  expectAccessible,
  SHORT_QUESTION,
  screenshot,
  test,
} from "./fixtures";
import { Server } from "./server";
import { addPerson, asAdministrator, enter, expectFits, newName, pageOf, screens, tongues } from "./users";

// What a refusal leaves on the browser's console.
test.use({ expectedErrors: [/status of (?:401|403|404|409|429)/] });

const press = (place: Page | Locator, name: string): Promise<void> =>
  place.getByRole("button", { name, exact: true }).click();
const settings = (page: Page): Locator => page.locator(".side-foot button");
const section = (page: Page, heading: string): Locator =>
  page.getByRole("region", { name: heading, exact: true });
const rows = (page: Page): Locator => page.locator(".rows > li");
const heading = (page: Page, name: string): Locator =>
  page.getByRole("heading", { level: 1, name, exact: true });

/** Answers the question that the page asks before it does something. */
async function confirm(page: Page, title: RegExp | string, button: string): Promise<void> {
  const question = page.getByRole("alertdialog");
  await expect(question).toContainText(title);
  await press(question, button);
  await expect(question).toBeHidden();
}

/** The password that is told once. */
async function secretOf(place: Page | Locator): Promise<string> {
  const password = await place.locator(".secret code").textContent();
  expect(password?.length).toBeGreaterThanOrEqual(12);
  return password ?? "";
}

/** Changes what everybody may do, and gives what puts it back. */
async function limitEverybody(server: Server, change: Partial<Group>): Promise<() => Promise<unknown>> {
  const path = `/api/admin/groups/${EVERYONE}`;
  const response = await asAdministrator(server, "GET", path);
  const { name, models, limits } = (await response.json()) as Group;
  await asAdministrator(server, "PATCH", path, { name, models, limits, ...change });
  return () => asAdministrator(server, "PATCH", path, { name, models, limits });
}

test("an administrator makes a user, whose password is told once and lets them in", async ({
  page,
  browser,
  server,
}) => {
  const name = newName("Newcomer");
  await page.goto("/");
  await settings(page).click();
  await page.getByRole("menuitem", { name: "Administration" }).click();
  await expect(page).toHaveURL(/\/admin\/users$/);
  await expect(heading(page, "Users")).toBeFocused();
  await press(page, "New user");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill("a@b");
  await press(dialog, "Create user");
  await expect(dialog).toContainText("can't have an @");
  await dialog.getByLabel("Name", { exact: true }).fill(name);
  await expect(dialog.getByRole("checkbox", { name: "everyone" })).toBeChecked();
  await expect(dialog.getByRole("checkbox", { name: "everyone" })).toBeDisabled();
  await expectAccessible(page);
  await screenshot(page, "admin-new-user");
  await press(dialog, "Create user");
  await expect(dialog).toContainText("The account is made");
  const password = await secretOf(dialog);
  // It isn't lost by a slip.
  await page.keyboard.press("Escape");
  await expect(dialog).toBeVisible();
  await expectAccessible(page);
  await press(dialog, "Done");
  await expect(dialog).toBeHidden();
  await expect(page.getByRole("button", { name: "New user" })).toBeFocused();

  await page.getByRole("searchbox").fill(name.toUpperCase());
  await expect(rows(page)).toHaveCount(1);
  await expect(page.getByRole("status").filter({ hasText: "1 user" })).toBeVisible();
  await expect(rows(page)).toContainText("Never signed in");
  await rows(page).getByRole("link").click();
  await expect(heading(page, name)).toBeFocused();
  await page.goBack();
  await expect(page.getByRole("searchbox")).toHaveValue(name.toUpperCase());

  const other = await pageOf(browser, server, { id: "", name, password });
  await other.goto("/");
  await expect(composer(other)).toBeVisible();
  await settings(other).click();
  await expect(other.getByRole("menuitem", { name: "Account" })).toBeVisible();
  await expect(other.getByRole("menuitem", { name: "Administration" })).toHaveCount(0);
  await other.context().close();
});

test("a name that is taken is told at its field", async ({ page, server }) => {
  const { name } = await addPerson(server);
  await page.goto("/admin/users");
  await press(page, "New user");
  const dialog = page.getByRole("dialog");
  await dialog.getByLabel("Name", { exact: true }).fill(name.toUpperCase());
  await press(dialog, "Create user");
  await expect(dialog).toContainText("This name is taken.");
  await expect(dialog.getByLabel("Name", { exact: true })).toBeFocused();
});

test("the admin area is for nobody else", async ({ browser, server }) => {
  const person = await addPerson(server);
  const page = await pageOf(browser, server, person);
  for (const path of ["/admin", "/admin/users", `/admin/users/${person.id}`, "/admin/status"]) {
    await page.goto(path);
    await expect(composer(page)).toBeVisible();
    await expect(page).toHaveURL(`${server.url}/`);
  }
  for (const path of ["users", `users/${person.id}`, "groups", "audit", "status", "backup"]) {
    expect((await page.request.get(`/api/admin/${path}`)).status(), path).toBe(403);
  }
  await page.context().close();
});

test("an operator looks after users, and after nobody else", async ({ browser, server }) => {
  const operator = await addPerson(server, "operator");
  const person = await addPerson(server);
  const page = await pageOf(browser, server, operator);
  const theirs = await pageOf(browser, server, person);
  await theirs.goto("/");
  await expect(composer(theirs)).toBeVisible();

  await page.goto("/admin/users");
  await expect(heading(page, "Users")).toBeVisible();
  await expect(page.getByRole("button", { name: "New user" })).toHaveCount(0);
  await page.getByRole("searchbox").fill(person.name);
  await rows(page).getByRole("link", { name: person.name }).click();
  await expect(heading(page, person.name)).toBeVisible();
  await expect(section(page, "Role and groups")).toHaveCount(0);
  await expect(section(page, "Name and address")).toHaveCount(0);
  await expect(page.getByRole("button", { name: "Delete…" })).toHaveCount(0);
  await expect(section(page, "Sessions").locator(".device")).toHaveCount(1);
  await expectAccessible(page);
  await screenshot(page, "operator-user");

  await press(section(page, "Sessions"), "Sign out everywhere");
  await confirm(page, `Sign ${person.name} out everywhere?`, "Sign out everywhere");
  await expect(section(page, "Sessions")).toContainText("Signed in nowhere.");
  await theirs.reload();
  await expect(theirs).toHaveURL(/\/login/);

  await press(section(page, "Signing in"), "New password");
  await confirm(page, `Give ${person.name} a new password?`, "Make a new password");
  await expect(section(page, "Signing in")).toContainText("A new password is made");
  const password = await secretOf(section(page, "Signing in"));
  expect(await enter(theirs, server, person)).toBe(false);
  expect(await enter(theirs, server, { ...person, password })).toBe(true);

  await press(section(page, "Closing the account"), "Disable");
  await confirm(page, `Disable ${person.name}?`, "Disable");
  await expect(section(page, "Profile")).toContainText("Disabled since");
  expect(await enter(theirs, server, { ...person, password })).toBe(false);
  await press(section(page, "Closing the account"), "Enable again");
  await expect(section(page, "Profile")).toContainText("Can sign in");
  expect(await enter(theirs, server, { ...person, password })).toBe(true);
  await theirs.context().close();

  // Administrators are above them.
  await page.goto("/admin/users");
  await rows(page).filter({ hasText: "Administrator" }).first().getByRole("link").click();
  await expect(section(page, "Profile")).toContainText("Administrator");
  await expect(section(page, "Signing in")).toHaveCount(0);
  await expect(section(page, "Closing the account")).toHaveCount(0);
  await page.getByRole("link", { name: "Groups" }).click();
  await expect(section(page, "everyone")).toBeVisible();
  await expect(page.getByRole("button", { name: "New group" })).toHaveCount(0);
  await expect(page.getByRole("button", { name: /^Edit/ })).toHaveCount(0);
  await page.getByRole("link", { name: "Status" }).click();
  await expect(page.getByText("Running since")).toBeVisible();
  await expect(page.getByRole("link", { name: "Download a backup" })).toHaveCount(0);
  expect((await page.request.get("/api/admin/backup")).status()).toBe(403);
  await page.context().close();
});

test("a user's name, role and groups are changed, and a group goes with its last word", async ({
  page,
  server,
}) => {
  const person = await addPerson(server);
  const group = newName("Crew");
  const renamed = newName("Renamed");
  await page.goto("/admin/groups");
  await press(page, "New group");
  const dialog = page.getByRole("dialog");
  await press(dialog, "Save");
  await expect(dialog).toContainText("Enter a name");
  await dialog.getByLabel("Name", { exact: true }).fill(group);
  await dialog.getByLabel("Messages per day").fill("some");
  await press(dialog, "Save");
  await expect(dialog.getByLabel("Messages per day")).toBeFocused();
  await expect(dialog).toContainText("Enter a whole number");
  await dialog.getByLabel("Messages per day").fill("40");
  await dialog.getByRole("radio", { name: "Only these" }).check();
  await dialog.getByRole("checkbox").first().check();
  await expectAccessible(page);
  await screenshot(page, "admin-group");
  await press(dialog, "Save");
  await expect(dialog).toBeHidden();
  await expect(section(page, group)).toContainText("40");
  await expect(section(page, group)).toContainText("0 members");

  await page.goto(`/admin/users/${person.id}`);
  const access = section(page, "Role and groups");
  await access.getByRole("checkbox", { name: group }).check();
  await access.getByRole("radio", { name: "Operator" }).check();
  await press(access, "Save");
  await confirm(page, `${person.name} becomes: Operator.`, "Change the role");
  await expect(access).toContainText("Saved.");
  await expect(section(page, "Profile")).toContainText(group);
  await expect(section(page, "Profile")).toContainText("Operator");
  await section(page, "Name and address").getByLabel("Name", { exact: true }).fill(renamed);
  await press(section(page, "Name and address"), "Save");
  await expect(heading(page, renamed)).toBeVisible();
  await page.reload();
  await expect(heading(page, renamed)).toBeVisible();
  await expect(access.getByRole("checkbox", { name: group })).toBeChecked();
  await expectAccessible(page);

  await page.getByRole("link", { name: "Groups" }).click();
  await expect(section(page, group)).toContainText("1 member");
  await press(page, `Delete the group ${group}`);
  await confirm(page, `Delete the group “${group}”?`, "Delete");
  await expect(page.getByText("The group is deleted.")).toBeVisible();
  await expect(section(page, group)).toHaveCount(0);
});

test("what a user's groups allow is what they get", async ({ page, browser, server }) => {
  const person = await addPerson(server);
  const theirs = await pageOf(browser, server, person);
  const limits = { answers_at_once: null, messages_per_day: 1, output_tokens_max: null };
  let putBack = await limitEverybody(server, { limits });
  try {
    await theirs.goto("/");
    await ask(theirs, SHORT_QUESTION);
    await ended(theirs);
    await ask(theirs, "And once more.");
    await expect(theirs.getByRole("alert")).toContainText("You have used up your messages for today.");
    await expect(theirs.getByRole("alert")).toContainText("Try again in");
    await expect(composer(theirs)).toHaveValue("And once more.");
    await screenshot(theirs, "messages-used-up");

    // The most generous of one's groups holds.
    const group = newName("Talkers");
    await page.goto("/admin/groups");
    await press(page, "New group");
    await page.getByRole("dialog").getByLabel("Name", { exact: true }).fill(group);
    await press(page.getByRole("dialog"), "Save");
    await expect(section(page, group)).toContainText("No limits");
    await page.goto(`/admin/users/${person.id}`);
    await section(page, "Role and groups").getByRole("checkbox", { name: group }).check();
    await press(section(page, "Role and groups"), "Save");
    await expect(section(page, "Role and groups")).toContainText("Saved.");
    await theirs.getByRole("button", { name: "Send message" }).click();
    await expect(answers(theirs)).toHaveCount(2);
    await ended(theirs);
  } finally {
    await putBack();
  }

  const other = await addPerson(server);
  const others = await pageOf(browser, server, other);
  putBack = await limitEverybody(server, { models: [] });
  try {
    await others.goto("/");
    await expect(others.getByText("There is no model that you may use.")).toBeVisible();
    await screenshot(others, "no-model-allowed");
  } finally {
    await putBack();
  }
  await others.reload();
  await expect(others.getByRole("button", { name: /^Model: / })).toBeVisible();
  await others.context().close();
  await theirs.context().close();
});

test("a deleted user is gone, and the log still says so", async ({ page, browser, server }) => {
  const person = await addPerson(server);
  const theirs = await pageOf(browser, server, person);
  await page.goto(`/admin/users/${person.id}`);
  await press(page, "Delete…");
  const question = page.getByRole("alertdialog");
  await expect(question).toContainText("destroyed at once, for ever");
  await expectAccessible(page);
  await screenshot(page, "admin-delete");
  await press(question, "Cancel");
  await expect(page.getByRole("button", { name: "Delete…" })).toBeFocused();
  await press(page, "Delete…");
  await confirm(page, `Delete ${person.name}?`, "Delete for ever");
  await expect(page).toHaveURL(/\/admin\/users$/);
  await page.getByRole("searchbox").fill(person.name);
  await expect(page.getByText("Nobody is called like this.")).toBeVisible();
  expect(await enter(theirs, server, person)).toBe(false);
  await page.goto(`/admin/users/${person.id}`);
  await expect(page.getByRole("alert")).toContainText("This doesn't exist any more.");
  await page.getByRole("link", { name: "Audit log" }).click();
  await expect(rows(page).filter({ hasText: "User deleted" }).first()).toBeVisible();
  await theirs.context().close();
});

test("one's own account is tended on one's own page, and the last administrator stays one", async ({
  page,
}) => {
  await page.goto("/admin/users");
  await rows(page).filter({ hasText: "Administrator" }).first().getByRole("link").click();
  await expect(page.getByText("This is you.")).toBeVisible();
  await expect(section(page, "Closing the account")).toHaveCount(0);
  const access = section(page, "Role and groups");
  await access.getByRole("radio", { name: "User" }).check();
  await press(access, "Save");
  await confirm(page, "Change the role?", "Change the role");
  await expect(access.getByRole("alert")).toContainText("This is the last administrator.");
  await page.getByRole("link", { name: "account page" }).click();
  await expect(heading(page, "Account")).toBeFocused();
});

test("the log is read page by page, and by user", async ({ page, browser, server }) => {
  const person = await addPerson(server);
  for (let index = 0; index < 60; index += 1) {
    const path = `/api/admin/users/${person.id}`;
    await asAdministrator(server, "PATCH", path, { disabled: true });
    await asAdministrator(server, "PATCH", path, { disabled: false });
  }
  const theirs = await pageOf(browser, server, person);
  await theirs.context().close();

  await page.goto("/admin/audit");
  await expect(rows(page)).toHaveCount(100);
  await press(page, "Show more");
  await expect(async () => expect(await rows(page).count()).toBeGreaterThan(100)).toPass();
  // Every event has a name of its own.
  const names = await rows(page).locator(".row-name").allTextContents();
  expect(names.filter((name) => /^[a-z]+(?:_[a-z]+)*$/.test(name))).toEqual([]);

  const picker = page.getByRole("combobox", { name: "Only this user" });
  await picker.fill(person.name);
  await expect(page.getByRole("option")).toHaveCount(1);
  await expectAccessible(page);
  await screenshot(page, "admin-audit");
  await picker.press("Enter");
  await expect(page).toHaveURL(`${server.url}/admin/audit?user=${person.id}`);
  await expect(page.getByText(`Entries of ${person.name}`)).toBeVisible();
  await expect(rows(page).first()).toContainText("Signed in");
  await expect(rows(page).nth(1)).toContainText("User enabled");
  await expect(rows(page).nth(1)).toContainText("by Ahab");
  await expect(rows(page).filter({ hasNotText: person.name })).toHaveCount(0);
  await page.getByRole("link", { name: "All users" }).click();
  await expect(page).toHaveURL(/\/admin\/audit$/);
});

test("an administrator takes a backup and changes the master key, while chats stay readable", async ({
  page,
}) => {
  await page.goto("/");
  await ask(page, SHORT_QUESTION);
  await ended(page);
  const chat = page.url();
  await page.goto("/admin/status");
  await expect(section(page, "Backup")).toBeVisible();
  await expect(page.getByText("Database", { exact: true })).toBeVisible();
  await expectAccessible(page);
  await screenshot(page, "admin-status");
  const downloading = page.waitForEvent("download");
  await page.getByRole("link", { name: "Download a backup" }).click();
  const download = await downloading;
  expect(download.suggestedFilename()).toMatch(/^cachalot-\d{4}-\d{2}-\d{2}\.db$/);
  const file = await readFile(await download.path());
  expect(file.subarray(0, 16).toString("latin1")).toBe("SQLite format 3\0");
  expect(file.includes(SHORT_QUESTION)).toBe(false);

  await press(section(page, "Master key"), "Change the master key");
  await confirm(page, "Backups made until now open only with the old key.", "Change it");
  await expect(section(page, "Master key")).toContainText(/Key generation \d+ is in force\./);
  await page.goto(chat);
  await expect(answers(page)).toHaveCount(1);
  await ask(page, SHORT_QUESTION);
  await expect(answers(page)).toHaveCount(2);
  await ended(page);
});

test("whoever gives the master keys by the environment is told which may leave it", async ({ browser }) => {
  const keys = [2, 1].map((generation) => `${generation}:${randomBytes(32).toString("base64")}`);
  const given = await Server.create(() => ({ variables: { CACHALOT_MASTER_KEY: keys.join(",") } }));
  try {
    const context = await browser.newContext({ baseURL: given.url, storageState: given.administrator });
    const page = await context.newPage();
    await page.goto("/admin/status");
    await press(section(page, "Master key"), "Change the master key");
    await confirm(page, "Change the master key?", "Change it");
    await expect(section(page, "Master key")).toContainText("Key generation 2 is in force.");
    await expect(section(page, "Master key")).toContainText(
      "Key generation 1 may be removed from the environment now",
    );
    await screenshot(page, "admin-removable-key");
    await context.close();
  } finally {
    await given.dispose();
  }
});

for (const [screen, options] of Object.entries(screens)) {
  test.describe(`on a ${screen}`, () => {
    test.use(options);

    for (const [index, { name, locale }] of tongues.entries()) {
      test.describe(`in ${name}`, () => {
        test.use({ locale, colorScheme: index === 1 ? "dark" : "light" });

        test("the admin area is accessible and fits", async ({ page, server }) => {
          const person = await addPerson(server);
          const see = async (path: string, ready: Locator) => {
            await page.goto(path);
            await expect(ready.first()).toBeVisible();
            await expect(page.locator("html")).toHaveAttribute("lang", locale.slice(0, 2));
            await expectAccessible(page);
            await expectFits(page);
            await screenshot(page, `${path.split("/").slice(1, 3).join("-")}-${screen}-${index}`);
          };
          await see("/admin/users", rows(page));
          await page.locator(".admin-head .button-accent").click();
          await expect(page.getByRole("dialog").getByRole("checkbox")).not.toHaveCount(0);
          await expectAccessible(page);
          await screenshot(page, `admin-dialog-${screen}-${index}`);
          await page.keyboard.press("Escape");
          await see("/admin/groups", page.locator(".account-section"));
          await see("/admin/audit", rows(page));
          await see("/admin/status", page.locator(".facts"));
          await page.goto(`/admin/users/${person.id}`);
          await expect(page.locator(".button-danger")).toBeVisible();
          await expectAccessible(page);
          await expectFits(page);
          await screenshot(page, `admin-user-${screen}-${index}`);
        });
      });
    }
  });
}
