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

export default defineConfig({
  plugins: [woff2Only(), react(), tailwindcss()],
  build: {
    target: "es2022",
    // The page's policy allows no data: fonts, and the files are hashed and cached anyway.
    assetsInlineLimit: 0,
    // Under `script-src 'self'` the inline polyfill would not run, and no browser of the target needs it.
    modulePreload: { polyfill: false },
    // The largest files are grammars that are loaded only for code in their language.
    // The notices of what is bundled go with it.
    license: { fileName: "licenses.md" },
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
    include: ["src/**/*.test.{ts,tsx}"],
    restoreMocks: true,
    testTimeout: 90_000,
  },
});
