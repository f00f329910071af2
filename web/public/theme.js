// Runs before the first paint, so that the page never flashes in the wrong theme. The rest is in src/state/theme.ts.
(() => {
  let choice = null;
  try {
    choice = localStorage.getItem("cachalot.theme");
  } catch {
    // Storage may be forbidden; then the system's theme is used.
  }
  const dark =
    choice === "dark" || (choice !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
