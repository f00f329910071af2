import { Download, FileUp, TriangleAlert } from "lucide-react";
import { useRef } from "react";
import { useTranslation } from "react-i18next";
import { EXPORT_PATH, type Imported } from "../../api/data";
import { cancelImport, type Importing, importRuns, startImport, useImport } from "../../state/importing";
import { Section } from "./AccountPage";
import { Retention } from "./Retention";

/** As the server tells at most. */
const SKIPPED_MAX = 100;

/** What one has here, as a whole. */
export function Data() {
  const { t } = useTranslation();
  return (
    <Section title={t("data.title")} text={t("data.text")}>
      <h3 className="account-part">{t("data.export")}</h3>
      <p className="account-text">{t("data.exportText")}</p>
      <a className="button data-button" href={EXPORT_PATH} download>
        <Download size={16} aria-hidden />
        {t("data.exportOpen")}
      </a>
      <h3 className="account-part">{t("data.import")}</h3>
      <p className="account-text">{t("data.importText")}</p>
      <Import />
      <Retention />
    </Section>
  );
}

function Import() {
  const { t } = useTranslation();
  const importing = useImport((state) => state.importing);
  const field = useRef<HTMLInputElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const runs = importRuns(importing);
  return (
    <>
      <input
        ref={field}
        type="file"
        accept=".zip,.json,application/zip,application/json"
        hidden
        aria-label={t("data.importOpen")}
        onChange={({ target }) => {
          const file = target.files?.[0];
          if (file !== undefined) void startImport(file);
          // The same file may be chosen again.
          target.value = "";
        }}
      />
      <div className="data-button">
        <button
          ref={button}
          type="button"
          className="button"
          aria-disabled={runs}
          onClick={() => !runs && field.current?.click()}
        >
          <FileUp size={16} aria-hidden />
          {t("data.importOpen")}
        </button>
        {runs && (
          <button
            type="button"
            className="button"
            onClick={() => {
              cancelImport();
              button.current?.focus();
            }}
          >
            {t("data.cancel")}
          </button>
        )}
      </div>
      {importing.state === "sending" && (
        <progress className="data-progress" value={importing.share} aria-label={t("data.sent")} />
      )}
      {importing.state === "reading" && <progress className="data-progress" aria-label={t("data.reading")} />}
      <div role="status" className="data-said">
        <Said importing={importing} />
      </div>
    </>
  );
}

function Said({ importing }: { importing: Importing }) {
  const { t } = useTranslation();
  switch (importing.state) {
    case "idle":
      return null;
    case "sending":
      return t("data.sending", { name: importing.name });
    case "reading":
    case "cancelled":
      return t(`data.${importing.state}`);
    case "done":
      return <Result imported={importing.imported} />;
    case "refused":
      return (
        <span className="note note-danger">
          <TriangleAlert size={18} aria-hidden className="shrink-0" />
          {importing.trouble === "failed"
            ? t("data.failed", { detail: importing.detail })
            : t(`data.${importing.trouble}`)}
        </span>
      );
  }
}

function Result({ imported }: { imported: Imported }) {
  const { t } = useTranslation();
  const { conversations, messages, already_there, skipped, format } = imported;
  return (
    <>
      <p className="data-result">
        {t("data.taken", { count: conversations })} {t("data.messages", { count: messages })}
        {already_there > 0 && <> {t("data.alreadyThere", { count: already_there })}</>}{" "}
        {t("data.from", { format: formats[format] ?? format })}
      </p>
      {skipped.length > 0 && (
        <>
          <p className="data-result">
            {t(skipped.length < SKIPPED_MAX ? "data.skipped" : "data.skippedMore", {
              count: skipped.length,
            })}
          </p>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a long list scrolls, and the keyboard must reach it */}
          <ul className="data-skipped" tabIndex={0} aria-label={t("data.skippedLabel")}>
            {skipped.map(({ title, why }, index) => (
              // biome-ignore lint/suspicious/noArrayIndexKey: the list of a result never changes
              <li key={index}>
                <span dir="auto">{title === "" ? t("sidebar.untitled") : title}</span>:{" "}
                <span lang="en">{why}</span>
              </li>
            ))}
          </ul>
        </>
      )}
    </>
  );
}

/** The formats by their makers' names, which are the same in every language. */
const formats: Readonly<Record<string, string>> = {
  cachalot: "Cachalot",
  deepseek: "DeepSeek",
  chatgpt: "ChatGPT",
};
