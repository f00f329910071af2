import { defineConfig } from "@playwright/test";

/** The system's Chromium; the suite downloads no browser. */
const executablePath = process.env["CHROMIUM"] ?? "/usr/bin/chromium";

export default defineConfig({
  testDir: "e2e",
  testMatch: "**/*.spec.ts",
  outputDir: "test-results",
  // One model answers on the machine's few cores: tests one after another, and time for slow ones.
  workers: 1,
  timeout: 240_000,
  expect: { timeout: 30_000 },
  retries: 0,
  forbidOnly: true,
  reporter: [["list"]],
  use: {
    locale: "en-GB",
    viewport: { width: 1280, height: 860 },
    // A trace takes half as long again as the tests: `npm run e2e -- --trace retain-on-failure` where one is wanted.
    screenshot: "only-on-failure",
    launchOptions: {
      executablePath,
      args: [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
      ],
    },
  },
});
