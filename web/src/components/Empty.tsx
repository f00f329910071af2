import { Code, Lightbulb, Map as MapIcon, PenLine } from "lucide-react";
import { useTranslation } from "react-i18next";
import { putDraft } from "../state/store";
import { Whale } from "./Whale";

/** What a chat without messages shows. */
export function Greeting() {
  const { t } = useTranslation();
  return (
    <div className="greeting">
      <Whale size={64} />
      <h2>{t("app.tagline")}</h2>
    </div>
  );
}

const suggestions = [
  ["explain", Lightbulb],
  ["write", PenLine],
  ["code", Code],
  ["plan", MapIcon],
] as const;

/** Questions to begin with; a press puts one into the field. */
export function Suggestions() {
  const { t } = useTranslation();
  return (
    <ul className="suggestions" aria-label={t("chat.suggestions")}>
      {suggestions.map(([name, Icon]) => (
        <li key={name}>
          <button
            type="button"
            onClick={() => {
              putDraft(t(`suggestions.${name}.text`));
              // By a finger too: one goes on writing.
              document.getElementById("composer")?.focus();
            }}
          >
            <Icon size={17} aria-hidden className="shrink-0" />
            <span>
              <span className="block font-medium">{t(`suggestions.${name}.title`)}</span>
              <span className="suggestion-text">{t(`suggestions.${name}.text`)}</span>
            </span>
          </button>
        </li>
      ))}
    </ul>
  );
}
