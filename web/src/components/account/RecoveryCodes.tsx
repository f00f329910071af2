import { Download, TriangleAlert } from "lucide-react";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import { CopyButton } from "../CopyButton";

interface Props {
  codes: readonly string[];
  /** Whose they are. */
  name: string;
  onDone: () => void;
}

/** The codes for a day without the telephone. The server doesn't know them any more: they are shown this once. */
export function RecoveryCodes({ codes, name, onDone }: Props) {
  const { t } = useTranslation();
  const list = useRef<HTMLOListElement>(null);
  // Not the button: an Enter too many would close what can't be seen again.
  useEffect(() => list.current?.focus(), []);
  const text = codes.join("\n");
  const download = () => {
    const heading = t("security.codes.fileHeading", { name, host: window.location.host });
    const address = URL.createObjectURL(new Blob([`${heading}\n\n${text}\n`], { type: "text/plain" }));
    const link = document.createElement("a");
    link.href = address;
    link.download = "cachalot-recovery-codes.txt";
    link.click();
    URL.revokeObjectURL(address);
  };
  return (
    <>
      <ol className="codes" ref={list} tabIndex={-1} aria-label={t("security.codes.title")} translate="no">
        {codes.map((code) => (
          <li key={code}>{code}</li>
        ))}
      </ol>
      <div className="codes-actions">
        <CopyButton text={text} label={t("security.codes.copy")} showLabel />
        <button type="button" className="button-text" onClick={download}>
          <Download size={16} aria-hidden />
          {t("security.codes.download")}
        </button>
      </div>
      <p className="note">
        <TriangleAlert size={18} aria-hidden className="shrink-0" />
        {t("security.codes.once")}
      </p>
      <div className="dialog-buttons">
        <button type="button" className="button button-accent" onClick={onDone}>
          {t("security.codes.done")}
        </button>
      </div>
    </>
  );
}
