import { TriangleAlert, X } from "lucide-react";
import { useTranslation } from "react-i18next";
import { dismissFailure, useStore } from "../state/store";
import { IconButton } from "./IconButton";

/** Why the last message was not taken. */
export function FailureNote() {
  const { t } = useTranslation();
  const failure = useStore((state) => state.open.failure);
  if (failure === null) return null;
  return (
    <div className="note note-danger" role="alert">
      <TriangleAlert size={18} aria-hidden className="shrink-0" />
      <span className="grow">{t(`failure.${failure.kind}`, { detail: failure.detail })}</span>
      <IconButton icon={X} size={16} label={t("failure.dismiss")} onClick={dismissFailure} />
    </div>
  );
}
