import i18next from "i18next";
import { initReactI18next } from "react-i18next";
import { recall, remember } from "../state/storage";
import { type Catalogue, en } from "./en";
import { withFrenchSpaces } from "./spaces";

/** Each language by its own name. */
export const languages = { en: "English", fr: "Français", zh: "中文" } as const;

export type Language = keyof typeof languages;

declare module "i18next" {
  interface CustomTypeOptions {
    defaultNS: "translation";
    resources: { translation: typeof en };
  }
}

const catalogues: Record<Exclude<Language, "en">, () => Promise<Catalogue>> = {
  fr: async () => withFrenchSpaces((await import("./fr")).fr),
  zh: async () => (await import("./zh")).zh,
};

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

async function use(language: Language): Promise<void> {
  if (language !== "en" && !i18next.hasResourceBundle(language, "translation")) {
    i18next.addResourceBundle(language, "translation", await catalogues[language]());
  }
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
