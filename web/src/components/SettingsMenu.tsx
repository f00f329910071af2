import { Monitor, Moon, Settings, Sun } from "lucide-react";
import { useTranslation } from "react-i18next";
import { chooseLanguage, type Language, languages } from "../i18n";
import { type ThemeChoice, useTheme } from "../state/theme";
import { Menu, MenuChoices } from "./Menu";

const themes = [
  ["light", Sun],
  ["dark", Moon],
  ["system", Monitor],
] as const;

export function SettingsMenu() {
  const { t, i18n } = useTranslation();
  const { choice, choose } = useTheme();
  return (
    <Menu
      side="top"
      trigger={
        <button type="button" className="side-button">
          <Settings size={18} aria-hidden />
          {t("settings.label")}
        </button>
      }
    >
      <MenuChoices<ThemeChoice>
        label={t("settings.theme")}
        value={choice}
        onChoose={choose}
        choices={themes.map(([value, Icon]) => ({
          value,
          content: (
            <span className="flex items-center gap-2.5">
              <Icon size={16} aria-hidden />
              {t(`settings.${value}`)}
            </span>
          ),
        }))}
      />
      <hr className="menu-line" />
      <MenuChoices<Language>
        label={t("settings.language")}
        value={i18n.language as Language}
        onChoose={chooseLanguage}
        choices={Object.entries(languages).map(([value, name]) => ({
          value: value as Language,
          content: <span lang={value}>{name}</span>,
        }))}
      />
    </Menu>
  );
}
