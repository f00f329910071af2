import { type ReactNode, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import type { Waiting } from "../../api/gate";
import { waitText } from "../../i18n/format";
import { useNow } from "./useNow";

/** One's place is called up: what there is to do, and for how long. */
export function Turn({ waiting: { until_seconds }, children }: { waiting: Waiting; children: ReactNode }) {
  const { t, i18n } = useTranslation();
  const now_ms = useNow();
  const [end_ms, setEnd] = useState<number | null>(null);
  useEffect(() => {
    setEnd(until_seconds == null ? null : Date.now() + until_seconds * 1000);
  }, [until_seconds]);
  // Whoever is in another tab sees it there.
  useEffect(() => {
    const before = document.title;
    document.title = `${t("gate.place.turnTitle")} · ${t("app.name")}`;
    return () => {
      document.title = before;
    };
  }, [t]);
  const left_s = end_ms === null ? null : Math.max(0, Math.ceil((end_ms - now_ms) / 1000));
  return (
    <div className="note form-note gate-turn">
      <div role="alert">
        <strong>{t("gate.place.turn")}.</strong> {children}
      </div>
      {left_s !== null && left_s > 0 && (
        <span>{t("gate.place.until", { wait: waitText(left_s, i18n.language) })}</span>
      )}
    </div>
  );
}
