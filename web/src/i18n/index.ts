import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import { recall, remember } from "../state/storage";
import type { en as enAdmin } from "./admin/en";
import { en } from "./en";
import type { en as enPrograms } from "./programs/en";
import { withFrenchSpaces } from "./spaces";

/** Each language by its own name. */
export const languages = { en: "English", fr: "Français", zh: "中文" } as const;

export type Language = keyof typeof languages;

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof en; admin: typeof enAdmin; programs: typeof enPrograms };
  }
}

/** The texts of the chat and the account, and those of areas that few ever see. */
type Part = "translation" | "admin" | "programs";

const catalogues: Record<Part, Record<Language, () => Promise<object>>> = {
  translation: {
    en: async () => en,
    fr: async () => withFrenchSpaces((await import("./fr")).fr),
    zh: async () => (await import("./zh")).zh,
  },
  admin: {
    en: async () => (await import("./admin/en")).en,
    fr: async () => withFrenchSpaces((await import("./admin/fr")).fr),
    zh: async () => (await import("./admin/zh")).zh,
  },
  programs: {
    en: async () => (await import("./programs/en")).en,
    fr: async () => withFrenchSpaces((await import("./programs/fr")).fr),
    zh: async () => (await import("./programs/zh")).zh,
  },
};

/** What a change of the language must bring. */
const needed = new Set<Part>(["translation"]);

const isLanguage = (name: string): name is Language => Object.hasOwn(languages, name);

/** The chosen language, or the first of the browser's that we speak. */
function wanted(): Language {
  const candidates = [recall("language"), ...navigator.languages];
  for (const candidate of candidates) {
    const name = candidate?.split("-")[0]?.toLowerCase();
    if (name !== undefined && isLanguage(name)) return name;
  }
  return "en";
}

async function load(language: Language): Promise<void> {
  const missing = [...needed].filter((part) => !i18next.hasResourceBundle(language, part));
  await Promise.all(
    missing.map(async (part) =>
      i18next.addResourceBundle(language, part, await catalogues[part][language]()),
    ),
  );
}

/** Brings the texts of a part that is not needed everywhere. */
export async function needTexts(part: Part): Promise<void> {
  needed.add(part);
  await load(i18next.language as Language);
}

async function use(language: Language): Promise<void> {
  await load(language);
  await i18next.changeLanguage(language);
  document.documentElement.lang = language;
}

export async function startLanguages(): Promise<void> {
  await i18next.use(initReactI18next).init({
    lng: "en",
    fallbackLng: "en",
    resources: { en: { translation: en } },
    // React escapes what it shows.
    interpolation: { escapeValue: false },
    react: { useSuspense: false },
  });
  await use(wanted()).catch(() => {});
}

export function chooseLanguage(language: Language): void {
  remember("language", language);
  // A catalogue that can't be loaded leaves the language as it is.
  void use(language).catch(() => {});
}
