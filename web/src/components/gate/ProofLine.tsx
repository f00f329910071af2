import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";

interface Props {
  /** From 0 to 1. */
  progress: number;
  /** Why it is done, where that is not for an account. */
  text?: string;
  onCancel: () => void;
}

/** A proof of work is being done. The button of the form keeps the focus meanwhile. */
export function ProofLine({ progress, text, onCancel }: Props) {
  const { t } = useTranslation();
  const line = useRef<HTMLDivElement>(null);
  // On a phone it may be below what is seen.
  useEffect(() => {
    // Newer browsers answer with a promise, which is nothing to clean up by.
    line.current?.scrollIntoView?.({ block: "nearest" });
  }, []);
  return (
    <div className="gate-proof" ref={line}>
      <p className="gate-proof-title">{t("gate.proof.title")}</p>
      <progress max={1} value={progress} aria-label={t("gate.proof.progress")} />
      <p className="gate-proof-text">{text ?? t("gate.proof.text")}</p>
      <button type="button" className="button" onClick={onCancel}>
        {t("gate.proof.cancel")}
      </button>
    </div>
  );
}
