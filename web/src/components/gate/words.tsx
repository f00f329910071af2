import { useTranslation } from "react-i18next";
import type { Move, Reason, Registration } from "../../api/gate";
import { waitText } from "../../i18n/format";
import { measuredText, opensIn, unitOf } from "../../state/gate";
import { useNow } from "./useNow";

/** What the gate does and why, in words; each part is for the public page as for operators. */

function ReasonItem({ reason: { reason, measured, threshold } }: { reason: Reason }) {
  const { t, i18n } = useTranslation();
  const unit = unitOf(reason);
  const key = `gate.reason.${reason}`;
  const name = i18n.exists(key)
    ? t(`gate.reason.${reason as "demand"}`)
    : t("gate.reason.other", { reason: reason.replaceAll("_", " ") });
  const number = (value: number) =>
    measuredText(value, unit ?? "count", i18n.language, (number) => t("gate.reason.times", { number }));
  return (
    <li>
      {name}
      {unit !== null && measured !== undefined && threshold !== undefined && (
        <span className="gate-numbers">
          {t(reason === "calm" ? "gate.reason.calmNumbers" : "gate.reason.numbers", {
            measured: number(measured),
            threshold: number(threshold),
          })}
        </span>
      )}
    </li>
  );
}

export function Reasons({ reasons }: { reasons: readonly Reason[] }) {
  return (
    <ul className="gate-reasons">
      {reasons.map((reason) => (
        <ReasonItem key={reason.reason} reason={reason} />
      ))}
    </ul>
  );
}

/** In steps: what is only about right need not change every second. */
const STEP_S = 5;

const roundUp = (duration_s: number | null): number | null =>
  duration_s === null ? null : Math.ceil(duration_s / STEP_S) * STEP_S;

/** When the door opens again; nothing for one that is open. */
export function Reopens({
  registration: { level, pinned, reopens_in_seconds },
  read_ms,
}: {
  registration: Registration;
  read_ms: number;
}) {
  const { t, i18n } = useTranslation();
  const now_ms = useNow();
  if (level === "open") return null;
  if (pinned) return t("gate.reopens.pinned");
  const left_s = roundUp(opensIn(reopens_in_seconds, now_ms - read_ms));
  if (left_s === null) return null;
  return left_s === 0
    ? t("gate.reopens.soon")
    : t("gate.reopens.about", { wait: waitText(left_s, i18n.language) });
}

export function Moves({ moves }: { moves: readonly Move[] }) {
  const { t, i18n } = useTranslation();
  const at = new Intl.DateTimeFormat(i18n.language, { dateStyle: "medium", timeStyle: "medium" });
  if (moves.length === 0) return <p className="account-text">{t("gate.status.none")}</p>;
  return (
    <ol className="gate-moves" aria-label={t("gate.status.moves")}>
      {moves.map(({ at_ms, from, to, reasons }, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: two moves may be of one moment
        <li key={`${at_ms}-${moves.length - index}`} className="gate-move" data-level={to}>
          <span className="gate-move-name">
            {t("gate.status.move", { from: t(`gate.level.${from}`), to: t(`gate.level.${to}`) })}
          </span>
          <time dateTime={new Date(at_ms).toISOString()}>{at.format(at_ms)}</time>
          <Reasons reasons={reasons} />
        </li>
      ))}
    </ol>
  );
}
