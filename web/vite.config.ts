import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import tailwindcss from "@tailwindcss/vite";
import react from "@vitejs/plugin-react";
import { defineConfig, type Plugin } from "vitest/config";

const server = process.env["CACHALOT_URL"] ?? "http://127.0.0.1:8080";

/** Every browser that can run the app reads woff2, so KaTeX's older font files stay out of the build. */
function woff2Only(): Plugin {
  return {
    name: "woff2-only",
    enforce: "pre",
    transform(code, id) {
      if (!/katex.*\.css$/.test(id)) return null;
      return code.replace(/,\s*url\([^)]+\)\s*format\("(?:woff|truetype)"\)/g, "");
    },
  };
}

const NOTICES = "licenses.md";

/** Workers are bundles of their own, whose packages Vite leaves out of the notices. */
function noticesOfWorkers(): { inWorker: Plugin; inPage: Plugin } {
  const folders = new Set<string>();
  const noticeOf = (folder: string): string => {
    const { name, version, license } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
    const file = readdirSync(folder).find((file) => /^licen[cs]e(?:\.|$)/i.test(file));
    const text = file === undefined ? "" : `\n${readFileSync(join(folder, file), "utf8").trim()}\n`;
    return `\n## ${name} - ${version} (${license})\n${text}`;
  };
  return {
    inWorker: {
      name: "packages-of-workers",
      generateBundle(_, bundle) {
        const modules = Object.values(bundle).flatMap((part) =>
          part.type === "chunk" ? part.moduleIds : [],
        );
        for (const module of modules) {
          const folder = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/.exec(module)?.[0];
          if (folder !== undefined) folders.add(folder);
        }
      },
    },
    inPage: {
      name: "notices-of-workers",
      enforce: "post",
      generateBundle: {
        order: "post",
        handler(_, bundle) {
          const notices = bundle[NOTICES];
          if (notices?.type !== "asset") throw new Error(`the bundle has no ${NOTICES}`);
          notices.source = String(notices.source) + [...folders].sort().map(noticeOf).join("");
        },
      },
    },
  };
}

const notices = noticesOfWorkers();

export default defineConfig({
  plugins: [woff2Only(), react(), tailwindcss(), notices.inPage],
  worker: { plugins: () => [notices.inWorker] },
  build: {
    target: "es2022",
    // The page's policy allows no data: fonts, and the files are hashed and cached anyway.
    assetsInlineLimit: 0,
    // Under `script-src 'self'` the inline polyfill would not run, and no browser of the target needs it.
    modulePreload: { polyfill: false },
    // The largest files are grammars that are loaded only for code in their language.
    // The notices of what is bundled go with it.
    license: { fileName: NOTICES },
    chunkSizeWarningLimit: 900,
  },
  server: {
    proxy: {
      // The server takes writes from its own origin only.
      "/api": { target: server, changeOrigin: true, headers: { origin: server } },
      "/oidc": { target: server, changeOrigin: true },
      "/readyz": { target: server, changeOrigin: true },
      // An answer for the page, and the page for a browser.
      "/status": {
        target: server,
        changeOrigin: true,
        bypass: ({ headers }) => (headers.accept?.includes("text/html") ? "/index.html" : undefined),
      },
    },
  },
  test: {
    environment: "happy-dom",
    include: ["src/**/*.test.{ts,tsx}", "e2e/*.test.ts"],
    restoreMocks: true,
    testTimeout: 90_000,
  },
});
