import { ChevronLeft, ChevronRight } from "lucide-react";
import { useTranslation } from "react-i18next";
import { showVersion } from "../state/store";
import { focusNext } from "./focus";
import { IconButton } from "./IconButton";

/** Turns between the versions of a message. */
export function Versions({ id, versions }: { id: string; versions: readonly string[] }) {
  const { t } = useTranslation();
  const index = versions.indexOf(id);
  if (versions.length < 2 || index < 0) return null;
  const show = (at: number) => {
    const version = versions[at];
    if (version === undefined) return;
    showVersion(version);
    // This is another message now, with buttons of its own.
    const buttons = `[data-message="${CSS.escape(version)}"] .versions button`;
    const turned = at > index ? "next" : "previous";
    const last = at === 0 || at === versions.length - 1;
    focusNext(last ? `${buttons}:not(:disabled)` : `${buttons}[data-turn="${turned}"]`);
  };
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for forms
    <div className="versions" role="group" aria-label={t("message.versions")}>
      <IconButton
        icon={ChevronLeft}
        size={16}
        data-turn="previous"
        label={t("message.previous")}
        disabled={index === 0}
        onClick={() => show(index - 1)}
      />
      <span className="versions-count">
        <span aria-hidden="true">
          {index + 1}/{versions.length}
        </span>
        <span className="sr-only">{t("message.version", { index: index + 1, total: versions.length })}</span>
      </span>
      <IconButton
        icon={ChevronRight}
        size={16}
        data-turn="next"
        label={t("message.next")}
        disabled={index === versions.length - 1}
        onClick={() => show(index + 1)}
      />
    </div>
  );
}
