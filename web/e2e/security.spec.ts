import type { CDPSession, Locator, Page } from "@playwright/test";
import { composer, expect, expectAccessible, screenshot, test } from "./fixtures";
import { Mailbox } from "./mailbox";
import { Server } from "./server";
import { totpCode } from "./totp";

// What a refusal leaves on the browser's console.
const refusals = [/status of (?:400|401|403|404|409|422)/];
const PASSWORD = "nine deep dives";
const PASSKEY_REFUSED = "This passkey opens no account here.";

let made = 0;
/** A name that nobody has yet. */
const newName = (): string => {
  made += 1;
  return `Keeper ${made} ${process.pid}`;
};

const field = (page: Page | Locator, label: string): Locator => page.getByLabel(label, { exact: true });
const button = (page: Page | Locator, name: string): Locator =>
  page.getByRole("button", { name, exact: true });
const section = (page: Page, name: string): Locator => page.getByRole("region", { name, exact: true });
const dialogOf = (page: Page): Locator => page.getByRole("dialog");
const headings = (page: Page, name: string): Locator =>
  page.getByRole("heading", { name, exact: true, level: 1 });

async function signUp(page: Page, at: string, name: string): Promise<void> {
  await page.goto(`${at}/sign-up`);
  await field(page, "Name").fill(name);
  await field(page, "Password").fill(PASSWORD);
  await button(page, "Create account").click();
  await expect(composer(page)).toBeVisible();
}

async function signIn(page: Page, name: string, password = PASSWORD): Promise<void> {
  await field(page, "Name or email address").fill(name);
  await field(page, "Password").fill(password);
  await button(page, "Sign in").click();
}

/** Ends the session without the server's knowing, as a browser does that is closed. */
async function forget(page: Page, path: string): Promise<void> {
  await page.context().clearCookies();
  await page.goto(path);
}

/** A device of the browser's own that keeps passkeys and knows its user. */
class Authenticator {
  readonly #session: CDPSession;
  readonly #id: string;

  private constructor(session: CDPSession, id: string) {
    this.#session = session;
    this.#id = id;
  }

  static async plugIn(page: Page): Promise<Authenticator> {
    const session = await page.context().newCDPSession(page);
    await session.send("WebAuthn.enable");
    const { authenticatorId } = await session.send("WebAuthn.addVirtualAuthenticator", {
      options: {
        protocol: "ctap2",
        transport: "internal",
        hasResidentKey: true,
        hasUserVerification: true,
        isUserVerified: true,
        automaticPresenceSimulation: true,
      },
    });
    return new Authenticator(session, authenticatorId);
  }

  /** Whether there is somebody who says yes to whatever it is asked. */
  async attended(enabled: boolean): Promise<void> {
    await this.#session.send("WebAuthn.setAutomaticPresenceSimulation", {
      authenticatorId: this.#id,
      enabled,
    });
  }

  async count(): Promise<number> {
    const { credentials } = await this.#session.send("WebAuthn.getCredentials", {
      authenticatorId: this.#id,
    });
    return credentials.length;
  }
}

async function addPasskey(page: Page, name: string): Promise<void> {
  await button(section(page, "Passkeys"), "Add a passkey…").click();
  await field(dialogOf(page), "Name of the passkey").fill(name);
  await field(dialogOf(page), "Your password, to confirm").fill(PASSWORD);
  await button(dialogOf(page), "Continue").click();
  await expect(dialogOf(page)).toBeHidden();
  await expect(page.getByText(`The passkey “${name}” is added.`)).toBeVisible();
}

/** The codes that are shown once, when they have come. */
async function recoveryCodes(dialog: Locator): Promise<string[]> {
  const codes = dialog.locator(".codes li");
  await expect(codes).toHaveCount(10);
  return codes.allTextContents();
}

/** Sets codes up on the account's page: the secret, and the recovery codes. */
async function setUpCodes(page: Page): Promise<{ secret: string; codes: string[] }> {
  const dialog = dialogOf(page);
  await button(page, "Set up…").click();
  await field(dialog, "Your password, to confirm").fill(PASSWORD);
  await button(dialog, "Continue").click();
  const secret = ((await dialog.locator(".totp-secret").textContent()) ?? "").replace(/\s/g, "");
  await field(dialog, "6-digit code").fill(totpCode(secret));
  await button(dialog, "Turn on").click();
  const codes = await recoveryCodes(dialog);
  await button(dialog, "I have kept them").click();
  await expect(page.getByText("Codes are asked for from now on.")).toBeVisible();
  return { secret, codes };
}

test.use({ signedIn: false, expectedErrors: refusals });

test("a passkey opens the account without a password, until it is removed", async ({ page, server }) => {
  const authenticator = await Authenticator.plugIn(page);
  const at = server.namedUrl;
  await signUp(page, at, newName());
  await page.goto(`${at}/account`);
  const passkeys = section(page, "Passkeys");
  const dialog = dialogOf(page);

  await button(passkeys, "Add a passkey…").click();
  await expect(field(dialog, "Name of the passkey")).toBeFocused();
  await expect(field(dialog, "Name of the passkey")).not.toHaveValue("");
  await field(dialog, "Your password, to confirm").fill("not the password");
  await button(dialog, "Continue").click();
  await expect(dialog).toContainText("This isn't your password.");
  await expect(field(dialog, "Your password, to confirm")).toBeFocused();
  expect(await authenticator.count()).toBe(0);
  await expectAccessible(page);
  await screenshot(page, "passkey-add");
  await page.keyboard.press("Escape");
  await expect(button(passkeys, "Add a passkey…")).toBeFocused();

  await addPasskey(page, "My telephone");
  expect(await authenticator.count()).toBe(1);
  await expect(passkeys.locator(".device")).toContainText("not used yet");
  await button(passkeys, "Rename My telephone").click();
  await field(dialog, "Name of the passkey").fill("Old telephone");
  await button(dialog, "Rename").click();
  await expect(passkeys.locator(".device")).toContainText("Old telephone");

  // This device has one already, and the browser makes no second one.
  await button(passkeys, "Add a passkey…").click();
  await field(dialog, "Your password, to confirm").fill(PASSWORD);
  await button(dialog, "Continue").click();
  await expect(dialog.getByRole("alert")).toContainText(
    "This device has a passkey for your account already.",
  );
  await page.keyboard.press("Escape");

  // By the button. Nobody is there yet when the page offers passkeys at the name's field.
  await authenticator.attended(false);
  await forget(page, `${at}/login?next=/account`);
  await expect(button(page, "Sign in with a passkey")).toBeVisible();
  await expectAccessible(page);
  await screenshot(page, "passkey-login");
  await authenticator.attended(true);
  await button(page, "Sign in with a passkey").click();
  await expect(page).toHaveURL(`${at}/account`);
  await expect(passkeys.locator(".device")).toContainText("last used just now");

  // At the name's field, without a press.
  await forget(page, `${at}/login`);
  await expect(composer(page)).toBeVisible();

  await page.goto(`${at}/account`);
  await button(passkeys, "Remove Old telephone").click();
  await expect(dialog).toContainText("Remove the passkey “Old telephone”?");
  await screenshot(page, "passkey-remove");
  await field(dialog, "Your password, to confirm").fill(PASSWORD);
  await button(dialog, "Remove").click();
  await expect(passkeys.locator(".device")).toHaveCount(0);
  await expect(page.getByRole("list", { name: "Passkeys" })).toBeFocused();
  await authenticator.attended(false);
  await forget(page, `${at}/login`);
  await expect(button(page, "Sign in with a passkey")).toBeVisible();
  await authenticator.attended(true);
  await button(page, "Sign in with a passkey").click();
  await expect(page.getByText(PASSKEY_REFUSED)).toBeVisible();
  await expect(headings(page, "Sign in")).toBeVisible();
});

test("passkeys work in a browser that can't translate them itself", async ({ page, server }) => {
  await page.addInitScript(() => {
    for (const [of, name] of [
      [PublicKeyCredential, "parseCreationOptionsFromJSON"],
      [PublicKeyCredential, "parseRequestOptionsFromJSON"],
      [PublicKeyCredential.prototype, "toJSON"],
    ] as const)
      Reflect.deleteProperty(of, name);
  });
  const authenticator = await Authenticator.plugIn(page);
  await signUp(page, server.namedUrl, newName());
  await page.goto(`${server.namedUrl}/account`);
  expect(await page.evaluate(() => "parseCreationOptionsFromJSON" in PublicKeyCredential)).toBe(false);
  await addPasskey(page, "By hand");
  expect(await authenticator.count()).toBe(1);
  await forget(page, `${server.namedUrl}/login?next=/account`);
  await expect(section(page, "Passkeys").locator(".device")).toContainText("last used just now");
});

test("an address without a name has no passkeys", async ({ page, server }) => {
  await page.goto("/login");
  await expect(headings(page, "Sign in")).toBeVisible();
  await expect(button(page, "Sign in with a passkey")).toHaveCount(0);
  await signUp(page, server.url, newName());
  await page.goto("/account");
  await expect(section(page, "Change password")).toBeVisible();
  await expect(section(page, "Passkeys")).toHaveCount(0);
});

test("codes are asked for besides the password once an app has them", async ({ page, server }) => {
  const name = newName();
  await signUp(page, server.url, name);
  await page.goto("/account");
  const dialog = dialogOf(page);
  await button(page, "Set up…").click();
  await field(dialog, "Your password, to confirm").fill(PASSWORD);
  await button(dialog, "Continue").click();
  const picture = dialog.getByRole("img", { name: "QR code with the secret for the authenticator app" });
  await expect(picture).toBeVisible();
  await expect(field(dialog, "6-digit code")).toBeFocused();
  const secret = ((await dialog.locator(".totp-secret").textContent()) ?? "").replace(/\s/g, "");
  await expect(dialog.getByRole("link", { name: "Open an app on this device" })).toHaveAttribute(
    "href",
    new RegExp(`^otpauth://totp/.*secret=${secret}`),
  );
  await field(dialog, "6-digit code").fill(totpCode(secret, 1000));
  await button(dialog, "Turn on").click();
  await expect(dialog).toContainText("This code is wrong");
  await expectAccessible(page);
  await screenshot(page, "totp-set-up");
  const first = totpCode(secret);
  await field(dialog, "6-digit code").fill(`${first.slice(0, 3)} ${first.slice(3)}`);
  await button(dialog, "Turn on").click();

  // They are shown this once: neither Escape nor a press beside them takes them away.
  await expect(dialog).toContainText("Your recovery codes");
  await page.keyboard.press("Escape");
  await page.mouse.click(4, 4);
  const codes = await recoveryCodes(dialog);
  expect(new Set(codes).size).toBe(10);
  await expectAccessible(page);
  await screenshot(page, "recovery-codes");
  const downloading = page.waitForEvent("download");
  await button(dialog, "Download").click();
  const download = await downloading;
  expect(download.suggestedFilename()).toBe("cachalot-recovery-codes.txt");
  const stream = await download.createReadStream();
  let text = "";
  for await (const chunk of stream) text += chunk;
  for (const code of codes) expect(text).toContain(code);
  expect(text).toContain(name);
  await button(dialog, "I have kept them").click();
  await expect(page.getByText("10 recovery codes left")).toBeVisible();
  await expect(dialog).toBeHidden();

  await forget(page, "/login?next=/account");
  await signIn(page, name);
  await expect(headings(page, "One more step")).toBeVisible();
  await expect(field(page, "6-digit code")).toBeFocused();
  await expect(field(page, "6-digit code")).toHaveAttribute("autocomplete", "one-time-code");
  // Nobody is signed in yet.
  expect(await page.context().cookies()).toEqual([]);
  await field(page, "6-digit code").fill(totpCode(secret, 1000));
  await button(page, "Sign in").click();
  await expect(page.getByText("This code is wrong, or has been used already.")).toBeVisible();
  await expectAccessible(page);
  await screenshot(page, "second-factor");
  await field(page, "6-digit code").fill(first);
  await button(page, "Sign in").click();
  await expect(field(page, "6-digit code")).toHaveAttribute("aria-invalid", "true");
  await field(page, "6-digit code").fill(totpCode(secret, 1));
  await button(page, "Sign in").click();
  await expect(page).toHaveURL(/\/account$/);

  await button(page, "Turn off…").click();
  await field(dialog, "Your password, to confirm").fill(PASSWORD);
  await button(dialog, "Turn off").click();
  await expect(page.getByText("Codes are not asked for any more.")).toBeVisible();
  await expect(button(page, "Set up…")).toBeVisible();
  await forget(page, "/login");
  await signIn(page, name);
  await expect(composer(page)).toBeVisible();
});

test("a recovery code takes the place of the telephone, once", async ({ page, server }) => {
  const name = newName();
  await signUp(page, server.url, name);
  await page.goto("/account");
  const { codes } = await setUpCodes(page);
  const [code = "", other = ""] = codes;
  const recover = async (given: string) => {
    await forget(page, "/login?next=/account");
    await signIn(page, name);
    await button(page, "Use a recovery code").click();
    await field(page, "Recovery code").fill(given);
    await button(page, "Sign in").click();
  };
  await recover(code);
  await expect(page.getByText("9 recovery codes left")).toBeVisible();
  await recover(code);
  await expect(page.getByText("This code is wrong, or has been used already.")).toBeVisible();
  await screenshot(page, "recovery-code-used");
  // As one copies it off a sheet of paper.
  await field(page, "Recovery code").fill(` ${other.toUpperCase().replaceAll("-", " ")} `);
  await button(page, "Sign in").click();
  await expect(page.getByText("8 recovery codes left")).toBeVisible();

  await button(page, "New recovery codes…").click();
  const dialog = dialogOf(page);
  await field(dialog, "Your password, to confirm").fill(PASSWORD);
  await button(dialog, "Make new ones").click();
  const renewed = await recoveryCodes(dialog);
  expect(renewed.some((one) => codes.includes(one))).toBe(false);
  await button(dialog, "I have kept them").click();
  await expect(page.getByText("10 recovery codes left")).toBeVisible();
  await recover(codes[2] ?? "");
  await expect(page.getByText("This code is wrong, or has been used already.")).toBeVisible();
  await button(page, "Back to the password").click();
  await expect(headings(page, "Sign in")).toBeVisible();
});

test("a revoked session ends what it was about to change, and one comes back to it", async ({
  page,
  browser,
  server,
}) => {
  const name = newName();
  await signUp(page, server.url, name);
  await page.goto("/account");
  const dialog = dialogOf(page);
  await button(page, "Set up…").click();
  await field(dialog, "Your password, to confirm").fill(PASSWORD);

  const context = await browser.newContext({ baseURL: server.url, locale: "en-GB" });
  const other = await context.newPage();
  await other.goto("/login?next=/account");
  await signIn(other, name);
  await button(other, "Sign out everywhere else").click();
  await expect(other.getByText("You are signed out everywhere else.")).toBeVisible();
  await context.close();

  // Revocation may take a few seconds to reach every request; until then the dialog only goes on to the secret.
  await expect(async () => {
    await page.getByRole("button", { name: /^(?:Continue|Turn on)$/ }).click({ timeout: 1500 });
    await expect(page.getByText("Your session has ended.")).toBeVisible({ timeout: 1500 });
  }).toPass({ timeout: 30_000 });
  await expect(dialog).toHaveCount(0);
  await expect(page).toHaveURL(/\/login\?next=%2Faccount$/);
  await signIn(page, name);
  await expect(button(page, "Set up…")).toBeVisible();
});

test("what a provider's way back says is told in our own words", async ({ page }) => {
  await page.goto("/login?error=oidc_denied");
  await expect(page.getByRole("alert")).toContainText("cancelled or refused");
  await expectAccessible(page);
  await page.goto(`/login?error=${encodeURIComponent("Call 0900-1234")}`);
  await expect(page.getByRole("alert")).toContainText("did not work");
  await expect(page.getByText("0900")).toHaveCount(0);
});

test("without letters there is nothing to forget or to confirm", async ({ page }) => {
  await page.goto("/login");
  await expect(headings(page, "Sign in")).toBeVisible();
  await expect(page.getByRole("link", { name: "Forgot your password?" })).toHaveCount(0);
  await page.goto("/reset");
  await expect(page.getByText("This server sends no emails.")).toBeVisible();
  await page.goto("/verify#nonsense");
  await button(page, "Confirm").click();
  await expect(page.getByText("This link isn't valid, or has been used already.")).toBeVisible();
  await expect(button(page, "Confirm")).toHaveCount(0);
});

test.describe("where letters are sent", () => {
  let mailbox: Mailbox;
  let mailing: Server;

  test.beforeAll(async () => {
    mailbox = await Mailbox.open();
    mailing = await Server.create((url) => ({
      variables: {
        CACHALOT_PUBLIC_URL: url,
        CACHALOT_MAIL_SERVER: "127.0.0.1",
        CACHALOT_MAIL_PORT: String(mailbox.port),
        CACHALOT_MAIL_SECURITY: "none",
        CACHALOT_MAIL_FROM: "Cachalot <chat@example.org>",
      },
    }));
  });
  test.afterAll(async () => {
    await mailing.dispose();
    mailbox.close();
  });

  /** Opens the link that the next letter to `address` has, as from a mail program. */
  async function openLink(page: Page, address: string, kind: "verify" | "reset"): Promise<string> {
    const letter = await mailbox.next(address);
    const link = new RegExp(`${mailing.url}/${kind}#\\S+`).exec(letter)?.[0];
    if (link === undefined) throw new Error(`the letter has no link:\n${letter}`);
    await page.goto("about:blank");
    await page.goto(link);
    return link;
  }

  async function join(page: Page, name: string, address: string): Promise<void> {
    await page.goto(`${mailing.url}/sign-up`);
    await field(page, "Name").fill(name);
    await field(page, "Email address").fill(address);
    await field(page, "Password").fill(PASSWORD);
    await button(page, "Create account").click();
    await expect(headings(page, "Check your email")).toBeVisible();
  }

  test("an account is made by the link, and its address changed by another", async ({ page }) => {
    const name = newName();
    await page.goto(`${mailing.url}/sign-up`);
    await field(page, "Name").fill(name);
    await field(page, "Password").fill(PASSWORD);
    await button(page, "Create account").click();
    await expect(field(page, "Email address")).toBeFocused();
    await join(page, name, "keeper@example.org");
    await expect(page.getByText("on its way to keeper@example.org")).toBeVisible();
    await expectAccessible(page);
    await screenshot(page, "letter-sent");

    const link = await openLink(page, "keeper@example.org", "verify");
    await expectAccessible(page);
    await screenshot(page, "letter-confirm");
    await button(page, "Confirm").click();
    await expect(composer(page)).toBeVisible();
    expect(new URL(page.url()).hash).toBe("");
    await page.goto("about:blank");
    await page.goto(link);
    await button(page, "Confirm").click();
    await expect(page.getByText("This link isn't valid, or has been used already.")).toBeVisible();

    await page.goto(`${mailing.url}/account`);
    await expect(section(page, "Profile")).toContainText("Confirmed");
    await button(page, "Change email address…").click();
    const dialog = dialogOf(page);
    await field(dialog, "New email address").fill("keeper@sea.example");
    await field(dialog, "Your password, to confirm").fill(PASSWORD);
    await button(dialog, "Send the email").click();
    await expect(page.getByText("on its way to keeper@sea.example")).toBeVisible();
    await expect(section(page, "Profile")).toContainText("keeper@example.org");
    // The old address hears of it.
    await mailbox.next("keeper@example.org");
    await openLink(page, "keeper@sea.example", "verify");
    await button(page, "Confirm").click();
    await expect(page.getByText("Your email address is confirmed.")).toBeVisible();
    await expect(section(page, "Profile")).toContainText("keeper@sea.example");
  });

  test("a known address looks like any other, and only its owner learns of it", async ({ page, context }) => {
    await join(page, newName(), "once@example.org");
    await openLink(page, "once@example.org", "verify");
    await button(page, "Confirm").click();
    await expect(composer(page)).toBeVisible();
    await context.clearCookies();
    await join(page, newName(), "once@example.org");
    await expect(page.getByText("on its way to once@example.org")).toBeVisible();
    expect(await mailbox.next("once@example.org")).not.toContain("/verify#");
  });

  test("a forgotten password is replaced by a letter, once", async ({ page, context }) => {
    const address = "forgetful@example.org";
    await join(page, newName(), address);
    await openLink(page, address, "verify");
    await button(page, "Confirm").click();
    await expect(composer(page)).toBeVisible();
    await context.clearCookies();

    await page.goto(`${mailing.url}/login`);
    await page.getByRole("link", { name: "Forgot your password?" }).click();
    await expect(headings(page, "Forgot your password?")).toBeVisible();
    await field(page, "Email address").fill(address);
    await button(page, "Send the email").click();
    await expect(headings(page, "Check your email")).toBeVisible();
    const link = await openLink(page, address, "reset");
    await field(page, "New password").fill("password");
    await button(page, "Set the password").click();
    await expect(page.getByText("This password is known from data leaks.")).toBeVisible();
    await screenshot(page, "reset-password");
    await field(page, "New password").fill("ten deeper dives");
    await button(page, "Set the password").click();
    await expect(page.getByText("Your new password is set")).toBeVisible();
    await signIn(page, address, PASSWORD);
    await expect(page.getByText("The name or the password is wrong.")).toBeVisible();
    await signIn(page, address, "ten deeper dives");
    await expect(composer(page)).toBeVisible();

    await page.goto("about:blank");
    await page.goto(link);
    await field(page, "New password").fill("eleven deeper dives");
    await button(page, "Set the password").click();
    await expect(page.getByText("This link isn't valid, or has been used already.")).toBeVisible();
    await button(page, "Ask for a new email").click();
    await expect(field(page, "Email address")).toBeVisible();
  });
});

const tongues = [
  { language: "English", login: "Sign in", second: "One more step", account: "Account" },
  { language: "Français", login: "Connexion", second: "Encore une étape", account: "Compte" },
  { language: "中文", login: "登录", second: "还差一步", account: "账户" },
];
const screens = {
  desktop: { viewport: { width: 1280, height: 860 } },
  phone: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};

for (const [screen, options] of Object.entries(screens)) {
  test.describe(`on a ${screen}`, () => {
    test.use(options);

    for (const [index, tongue] of tongues.entries()) {
      test(`the pages about signing in are accessible and fit, in ${tongue.language}`, async ({
        page,
        server,
      }) => {
        const at = server.namedUrl;
        const name = newName();
        const authenticator = await Authenticator.plugIn(page);
        await page.emulateMedia({ colorScheme: index === 1 ? "dark" : "light" });
        const look = async (shot: string) => {
          await expect(page.getByRole("menu")).toBeHidden();
          await expectAccessible(page);
          const [inner, outer] = await page.evaluate(() => [
            document.documentElement.scrollWidth,
            window.innerWidth,
          ]);
          expect(inner).toBe(outer);
          await screenshot(page, `${shot}-${screen}-${index}`);
        };
        await signUp(page, at, name);
        await page.goto(`${at}/account`);
        await addPasskey(page, "Quite a long name, so that it has to be broken somewhere");
        const { secret } = await setUpCodes(page);
        await page.locator(".account-head button").click();
        await page.getByRole("menuitemradio", { name: tongue.language }).click();
        await expect(headings(page, tongue.account)).toBeVisible();
        await page.locator(".device-actions").scrollIntoViewIfNeeded();
        await look("security-account");
        await page.locator(".device-actions button").last().click();
        await look("security-remove");
        await page.keyboard.press("Escape");
        const codes = page.locator("fieldset.button-row button");
        await codes.first().click();
        await dialogOf(page).locator("input[type=password]").fill(PASSWORD);
        await page.keyboard.press("Enter");
        await expect(dialogOf(page).locator(".codes li")).toHaveCount(10);
        await look("security-codes");
        await dialogOf(page).locator(".button-accent").click();
        await codes.last().click();
        await dialogOf(page).locator("input[type=password]").fill(PASSWORD);
        await look("security-off");
        await page.keyboard.press("Escape");

        await authenticator.attended(false);
        await forget(page, `${at}/login?error=oidc_email_taken`);
        await expect(headings(page, tongue.login)).toBeVisible();
        await look("security-login");
        await page.locator("input[name=login]").fill(name);
        await page.locator("input[name=old]").fill(PASSWORD);
        await page.keyboard.press("Enter");
        await expect(headings(page, tongue.second)).toBeVisible();
        await look("security-second");
        await page.locator("input[name=code]").fill(totpCode(secret, 1));
        await page.keyboard.press("Enter");
        await expect(page.locator("#composer")).toBeVisible();

        await page.goto(`${at}/account`);
        await codes.last().click();
        await dialogOf(page).locator("input[type=password]").fill(PASSWORD);
        await page.keyboard.press("Enter");
        await expect(dialogOf(page)).toBeHidden();
        await codes.first().click();
        await dialogOf(page).locator("input[type=password]").fill(PASSWORD);
        await page.keyboard.press("Enter");
        await expect(dialogOf(page).locator(".qr")).toBeVisible();
        await look("security-set-up");
      });
    }
  });
}
