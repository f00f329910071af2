import {
  type APIResponse,
  type Browser,
  type BrowserContextOptions,
  type Page,
  request,
} from "@playwright/test";
import { expect } from "./fixtures";
import type { Server } from "./server";

/** Users besides the administrator, whom the tests make without going through the page. */

export interface Person {
  id: string;
  name: string;
  password: string;
}

let made = 0;

/** A name that nobody has yet. */
export function newName(kind: string): string {
  made += 1;
  return `${kind} ${made} ${process.pid}`;
}

/** What the server says to the administrator, whose page is left alone. */
export async function asAdministrator(
  server: Server,
  method: string,
  path: string,
  data: object = {},
): Promise<APIResponse> {
  const browser = await request.newContext({
    baseURL: server.url,
    storageState: server.administrator,
    extraHTTPHeaders: { origin: server.url },
  });
  const response = await browser.fetch(path, method === "GET" ? { method } : { method, data });
  expect(response.ok(), `${method} ${path}: ${response.status()}`).toBe(true);
  // Its text is gone with the browser.
  await response.body();
  return response;
}

export async function addPerson(
  server: Server,
  role: "user" | "operator" | "admin" = "user",
  groups: string[] = [],
): Promise<Person> {
  const name = newName(role === "operator" ? "Bosun" : "Diver");
  const response = await asAdministrator(server, "POST", "/api/admin/users", { name, role, groups });
  const { user, password } = (await response.json()) as { user: { id: string }; password: string };
  return { id: user.id, name, password };
}

/** Signs somebody in; true if the server let them. */
export async function enter(page: Page, server: Server, { name, password }: Person): Promise<boolean> {
  const response = await page.request.post(`${server.url}/api/login`, {
    data: { login: name, password },
    headers: { origin: server.url },
  });
  return response.ok();
}

/** A page of somebody's own browser. Its context is closed with the test's browser. */
export async function pageOf(
  browser: Browser,
  server: Server,
  person: Person,
  options: BrowserContextOptions = {},
): Promise<Page> {
  const context = await browser.newContext({ baseURL: server.url, locale: "en-GB", ...options });
  const page = await context.newPage();
  expect(await enter(page, server, person)).toBe(true);
  return page;
}

/** The page is as wide as the screen, and no wider. */
export async function expectFits(page: Page): Promise<void> {
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  expect(inner).toBe(outer);
}

export const tongues = [
  { name: "English", locale: "en-GB" },
  { name: "Français", locale: "fr-FR" },
  { name: "中文", locale: "zh-CN" },
] as const;

export const screens = {
  desktop: { viewport: { width: 1280, height: 860 } },
  phone: { viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true },
};
