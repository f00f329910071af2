import type { TFunction } from "i18next";
import { ChevronRight, Lightbulb } from "lucide-react";
import { memo, useId, useState } from "react";
import { useTranslation } from "react-i18next";
import { Markdown } from "../markdown/Markdown";

function durationText(duration_ms: number | null, t: TFunction): string {
  if (duration_ms === null) return t("reasoning.done");
  const seconds = Math.round(duration_ms / 1000);
  if (seconds < 1) return t("reasoning.short");
  if (seconds < 60) return t("reasoning.doneIn", { count: seconds });
  return t("reasoning.doneInMinutes", { minutes: Math.floor(seconds / 60), seconds: seconds % 60 });
}

interface Props {
  text: string;
  /** The model is still at it. */
  running: boolean;
  duration_ms: number | null;
}

/** What the model thought: open while it thinks, folded when it answers, and then as the reader likes. */
export const Reasoning = memo(function Reasoning({ text, running, duration_ms }: Props) {
  const { t } = useTranslation();
  const [chosen, setChosen] = useState<boolean | null>(null);
  const id = useId();
  const open = chosen ?? running;
  return (
    <div className="reasoning">
      <button
        type="button"
        className="reasoning-head"
        aria-expanded={open}
        aria-controls={id}
        onClick={() => setChosen(!open)}
      >
        <Lightbulb size={16} aria-hidden />
        <span className={running ? "shimmer" : ""}>
          {running ? t("reasoning.running") : durationText(duration_ms, t)}
        </span>
        <ChevronRight size={16} aria-hidden className="reasoning-arrow" data-open={open} />
      </button>
      <div id={id} className="reasoning-text" hidden={!open}>
        {open && <Markdown text={text} streaming={running} />}
      </div>
    </div>
  );
});
