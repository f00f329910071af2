import {
  ChartColumn,
  KeyRound,
  LogOut,
  Monitor,
  Moon,
  Settings,
  ShieldCheck,
  Sun,
  UserRound,
} from "lucide-react";
import { DropdownMenu } from "radix-ui";
import { useTranslation } from "react-i18next";
import { chooseLanguage, type Language, languages } from "../i18n";
import { go, signOut, useSession } from "../state/session";
import { type ThemeChoice, useTheme } from "../state/theme";
import { IconButton } from "./IconButton";
import { Menu, MenuChoices, MenuItem } from "./Menu";

const themes = [
  ["light", Sun],
  ["dark", Moon],
  ["system", Monitor],
] as const;

/** What one can set; a compact button where it stands in a corner of its own. */
export function SettingsMenu({ compact = false }: { compact?: boolean }) {
  const { t, i18n } = useTranslation();
  const { choice, choose } = useTheme();
  return (
    <Menu
      side={compact ? "bottom" : "top"}
      align={compact ? "end" : "start"}
      trigger={
        compact ? (
          <IconButton icon={Settings} label={t("settings.label")} />
        ) : (
          <button type="button" className="side-button">
            <Settings size={18} aria-hidden />
            {t("settings.label")}
          </button>
        )
      }
    >
      {!compact && <AccountItems />}
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

function AccountItems() {
  const { t } = useTranslation();
  const name = useSession((state) => state.user?.name);
  const runsThePlace = useSession((state) => state.user !== null && state.user.role !== "user");
  if (name === undefined) return null;
  return (
    <>
      <DropdownMenu.Group aria-label={t("settings.signedInAs", { name })}>
        <DropdownMenu.Label className="menu-name" dir="auto">
          {name}
        </DropdownMenu.Label>
        <MenuItem onSelect={() => go("/account")}>
          <UserRound size={16} aria-hidden />
          {t("settings.account")}
        </MenuItem>
        <MenuItem onSelect={() => go("/keys")}>
          <KeyRound size={16} aria-hidden />
          {t("settings.keys")}
        </MenuItem>
        <MenuItem onSelect={() => go("/usage")}>
          <ChartColumn size={16} aria-hidden />
          {t("settings.usage")}
        </MenuItem>
        {runsThePlace && (
          <MenuItem onSelect={() => go("/admin/users")}>
            <ShieldCheck size={16} aria-hidden />
            {t("settings.admin")}
          </MenuItem>
        )}
        <MenuItem onSelect={() => void signOut()}>
          <LogOut size={16} aria-hidden />
          {t("settings.signOut")}
        </MenuItem>
      </DropdownMenu.Group>
      <hr className="menu-line" />
    </>
  );
}
