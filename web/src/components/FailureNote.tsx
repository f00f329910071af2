import { TriangleAlert, X } from "lucide-react";
import { useTranslation } from "react-i18next";
import { waitText } from "../i18n/format";
import { dismissFailure, useStore } from "../state/store";
import { IconButton } from "./IconButton";

/** Why the last message was not taken. */
export function FailureNote() {
  const { t, i18n } = useTranslation();
  const failure = useStore((state) => state.open.failure);
  if (failure === null) return null;
  return (
    <div className="note note-danger" role="alert">
      <TriangleAlert size={18} aria-hidden className="shrink-0" />
      <span className="grow">
        {t(`failure.${failure.kind}`, { detail: failure.detail })}
        {failure.kind === "messages_per_day" && failure.wait_s !== null && (
          <> {t("form.tryAgainIn", { wait: waitText(failure.wait_s, i18n.language) })}</>
        )}
      </span>
      <IconButton icon={X} size={16} label={t("failure.dismiss")} onClick={dismissFailure} />
    </div>
  );
}
