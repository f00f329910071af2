import { Check, Copy } from "lucide-react";
import { useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import { notify } from "../state/store";

const SHOWN_MS = 2000;

interface Props {
  text: string;
  label: string;
  showLabel?: boolean;
}

export function CopyButton({ text, label, showLabel = false }: Props) {
  const { t } = useTranslation();
  const [copied, setCopied] = useState(false);
  useEffect(() => {
    if (!copied) return;
    const timer = setTimeout(() => setCopied(false), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [copied]);
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(true);
    } catch {
      notify("copyFailed");
    }
  };
  const shown = copied ? t("message.copied") : label;
  const Icon = copied ? Check : Copy;
  return (
    <button
      type="button"
      className={showLabel ? "button-text" : "button-icon"}
      aria-label={shown}
      data-tip={showLabel ? undefined : shown}
      onClick={() => void copy()}
    >
      <Icon size={16} aria-hidden />
      {showLabel && <span>{copied ? t("message.copied") : t("message.copy")}</span>}
    </button>
  );
}
