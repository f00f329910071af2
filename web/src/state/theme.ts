import { create } from "zustand";
import { recall, remember } from "./storage";

export type ThemeChoice = "light" | "dark" | "system";

const darkQuery = window.matchMedia("(prefers-color-scheme: dark)");

function read(): ThemeChoice {
  const stored = recall("theme");
  return stored === "light" || stored === "dark" ? stored : "system";
}

/** Also done by public/theme.js before the first paint. */
function apply(choice: ThemeChoice): void {
  const dark = choice === "dark" || (choice === "system" && darkQuery.matches);
  document.documentElement.dataset["theme"] = dark ? "dark" : "light";
  document.querySelector('meta[name="theme-color"]')?.setAttribute("content", dark ? "#0f151d" : "#ffffff");
}

export const useTheme = create<{ choice: ThemeChoice; choose(choice: ThemeChoice): void }>((set) => ({
  choice: read(),
  choose(choice) {
    remember("theme", choice === "system" ? null : choice);
    apply(choice);
    set({ choice });
  },
}));

export function startTheme(): void {
  apply(useTheme.getState().choice);
  darkQuery.addEventListener("change", () => apply(useTheme.getState().choice));
}
