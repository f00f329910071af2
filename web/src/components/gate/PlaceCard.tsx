import { Hourglass } from "lucide-react";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { counted, waitText } from "../../i18n/format";
import { useGate } from "../../state/gate";
import type { Place } from "./usePlace";

/** As long is what the server says where it has no forecast. */
const ABOUT_S_MAX = 86_400;

/** One's place in the waiting list, as long as it isn't called up. */
export function PlaceCard({ place }: { place: Place }) {
  const { t, i18n } = useTranslation();
  const heading = useRef<HTMLHeadingElement>(null);
  const { waiting, lost } = place;
  const level = useGate((state) => state.status?.registration.level);
  // At these nobody is called up.
  const halted = level === "invite_only" || level === "suspended";
  // The button that had the focus is gone.
  useEffect(() => heading.current?.focus(), []);
  const ahead = waiting?.ahead ?? null;
  useEffect(() => {
    if (ahead === null) return;
    const { number } = counted(ahead, i18n.language);
    const before = document.title;
    document.title = `${t("gate.place.documentTitle", { number })} · ${t("app.name")}`;
    return () => {
      document.title = before;
    };
  }, [ahead, t, i18n.language]);
  return (
    <section className="letter gate-place" aria-labelledby="gate-place">
      <Hourglass size={30} aria-hidden />
      <h2 id="gate-place" ref={heading} tabIndex={-1}>
        {t("gate.place.title")}
      </h2>
      <div role="status">
        {waiting === null ? (
          <p>{t(lost ? "gate.place.lost" : "gate.place.asking")}</p>
        ) : (
          <>
            <p className="gate-ahead">
              {waiting.ahead === 0
                ? t("gate.place.nobodyAhead")
                : t("gate.place.ahead", counted(waiting.ahead, i18n.language))}
            </p>
            <p>
              {halted || waiting.about_seconds === null || waiting.about_seconds >= ABOUT_S_MAX
                ? t("gate.place.unknown")
                : t("gate.place.about", { wait: waitText(waiting.about_seconds, i18n.language) })}
            </p>
            {lost && <p>{t("gate.place.lost")}</p>}
          </>
        )}
      </div>
      <p className="letter-more">{t("gate.place.kept")}</p>
      <button type="button" className="button" onClick={() => void place.leave()}>
        {t("gate.place.leave")}
      </button>
    </section>
  );
}
