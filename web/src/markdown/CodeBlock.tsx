import { memo, useEffect, useRef, useState } from "react";
import { useTranslation } from "react-i18next";
import { CopyButton } from "../components/CopyButton";
import type { Highlighted, Line } from "./highlighter";
import { grammarName } from "./languages";

const CodeLine = memo(function CodeLine({ line }: { line: Line }) {
  return line.map((token) => (
    <span key={token.offset} style={token.htmlStyle}>
      {token.content}
    </span>
  ));
});

/** The coloured lines of the code, or null as long as there are none. Grammars are loaded when first met. */
function useHighlighted(code: string, language: string): readonly Line[] | null {
  const grammar = grammarName(language);
  const kept = useRef<{ grammar: string; highlighted: Highlighted } | null>(null);
  const [result, setResult] = useState<{ code: string; lines: readonly Line[] } | null>(null);
  useEffect(() => {
    let current = true;
    const run = async (name: string) => {
      const { HIGHLIGHT_LENGTH_MAX, highlight, highlighterFor } = await import("./highlighter");
      if (code.length > HIGHLIGHT_LENGTH_MAX) return;
      const highlighter = await highlighterFor(name);
      if (!current) return;
      const before = kept.current?.grammar === name ? kept.current.highlighted : null;
      const highlighted = highlight(highlighter, name, code, before);
      kept.current = { grammar: name, highlighted: highlighted.kept };
      setResult({ code, lines: highlighted.lines });
    };
    // Without colours the code is still there.
    if (grammar !== null) run(grammar).catch(() => {});
    return () => {
      current = false;
    };
  }, [code, grammar]);
  if (result === null || grammar === null || !code.startsWith(result.code)) return null;
  return result.lines;
}

/** Lines that are coloured, and after them the text that has come in since. */
function Code({ code, lines }: { code: string; lines: readonly Line[] | null }) {
  if (lines === null) return code;
  const rows = code.split("\n");
  return rows.map((row, index) => {
    const line = lines[index];
    const fits =
      line !== undefined && line.reduce((sum, token) => sum + token.content.length, 0) === row.length;
    return (
      // biome-ignore lint/suspicious/noArrayIndexKey: a line is known by its number and by nothing else
      <span key={index}>
        {fits ? <CodeLine line={line} /> : row}
        {index < rows.length - 1 ? "\n" : ""}
      </span>
    );
  });
}

export const CodeBlock = memo(function CodeBlock({ code, language }: { code: string; language: string }) {
  const { t } = useTranslation();
  const text = code.replace(/\n$/, "");
  const lines = useHighlighted(text, language);
  const label = language === "" ? t("markdown.code") : t("markdown.codeIn", { language });
  return (
    <figure className="code-block" aria-label={label}>
      <figcaption>
        <span>{language === "" ? t("markdown.code") : language}</span>
        <CopyButton text={text} label={t("markdown.copyCode")} showLabel />
      </figcaption>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: long lines scroll, also by keyboard */}
      <pre tabIndex={0} dir="ltr">
        <code>
          <Code code={text} lines={lines} />
        </code>
      </pre>
    </figure>
  );
});
