import type { Element, ElementContent } from "hast";
import { CheckSquare, ImageIcon, Square } from "lucide-react";
import { type ComponentProps, memo, type ReactNode, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import rehypeSanitize from "rehype-sanitize";
import remarkGfm from "remark-gfm";
import { type Components, type ExtraProps, Streamdown } from "streamdown";
import { CodeBlock } from "./CodeBlock";
import { hasMath, prepareMath } from "./math";
import { remarkLineBreaks } from "./remark";
import { safeHref, schema } from "./schema";
import { holdBackTable } from "./table";

type Props<Tag extends keyof React.JSX.IntrinsicElements> = ComponentProps<Tag> & ExtraProps;

function Link({ href, children }: Props<"a">) {
  const safe = safeHref(href);
  if (safe === null) return <>{children}</>;
  return (
    <a href={safe} target="_blank" rel="noopener noreferrer" title={safe}>
      {children}
    </a>
  );
}

/** A link and never the picture itself: loading it would tell its server who reads what. */
function Picture({ src, alt }: Props<"img">) {
  const { t } = useTranslation();
  const safe = safeHref(src);
  const text = alt === undefined || alt === "" ? t("markdown.image") : alt;
  if (safe === null) return <>{text}</>;
  return (
    <a className="picture" href={safe} target="_blank" rel="noopener noreferrer" title={safe}>
      <ImageIcon size={15} aria-hidden />
      {text}
      <span className="picture-host">{new URL(safe).host}</span>
    </a>
  );
}

function Checkbox({ checked }: Props<"input">) {
  const { t } = useTranslation();
  const Icon = checked === true ? CheckSquare : Square;
  return (
    <Icon
      size={16}
      role="img"
      aria-label={checked === true ? t("markdown.taskDone") : t("markdown.taskOpen")}
    />
  );
}

const textOf = (node: ElementContent): string => {
  if (node.type === "text") return node.value;
  return node.type === "element" ? node.children.map(textOf).join("") : "";
};

function languageOf(code: Element): string {
  const names = code.properties["className"];
  if (!Array.isArray(names)) return "";
  const name = names.find((item) => typeof item === "string" && item.startsWith("language-"));
  return typeof name === "string" ? name.slice("language-".length) : "";
}

function Preformatted({ node, children }: Props<"pre">) {
  const code = node?.children.find((child) => child.type === "element" && child.tagName === "code");
  if (code?.type !== "element") return <pre>{children}</pre>;
  return <CodeBlock code={textOf(code)} language={languageOf(code)} />;
}

function Table({ children }: Props<"table">) {
  const { t } = useTranslation();
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: wide tables scroll, also by keyboard
    // biome-ignore lint/a11y/useSemanticElements: there is no element for a part that scrolls
    <div className="table-scroll" role="group" aria-label={t("markdown.table")} tabIndex={0}>
      <table>{children}</table>
    </div>
  );
}

/** Headings of an answer stand below those of the page. */
function Heading({ node, children }: { children?: ReactNode } & ExtraProps) {
  const level = Number(node?.tagName.slice(1) ?? 1);
  const Tag = `h${Math.min(6, level + 2)}` as "h3";
  return <Tag data-level={level}>{children}</Tag>;
}

const components: Components = {
  a: Link,
  img: Picture,
  input: Checkbox,
  pre: Preformatted,
  code: "code",
  table: Table,
  h1: Heading,
  h2: Heading,
  h3: Heading,
  h4: Heading,
  h5: Heading,
  h6: Heading,
  // Plain elements in place of Streamdown's own, which bring their own look.
  p: "p",
  ul: "ul",
  ol: "ol",
  li: "li",
  hr: "hr",
  strong: "strong",
  blockquote: "blockquote",
  thead: "thead",
  tbody: "tbody",
  tr: "tr",
  th: "th",
  td: "td",
  sup: "sup",
  sub: "sub",
  section: "section",
};

const remend = { katex: false, inlineKatex: false, htmlTags: false, linkMode: "text-only" } as const;

/** Streamdown's own question before a link opens; ours open as links do. */
const linkSafety = { enabled: false };

type Plugins = Pick<ComponentProps<typeof Streamdown>, "remarkPlugins" | "rehypePlugins">;

// Without rehype-raw in the list, Streamdown keeps HTML as text; what remains is sanitised all the same.
const plain = {
  remarkPlugins: [remarkGfm, remarkLineBreaks],
  rehypePlugins: [[rehypeSanitize, schema]],
} satisfies Plugins;

let withMath: Plugins | null = null;

async function loadMath(): Promise<Plugins> {
  const { mathRehype, mathRemark } = await import("./katex");
  withMath ??= {
    remarkPlugins: [...plain.remarkPlugins, [...mathRemark]],
    // KaTeX makes its own markup, from text that has been sanitised.
    rehypePlugins: [...plain.rehypePlugins, [...mathRehype]],
  } as Plugins;
  return withMath;
}

/** The plugins for this text; KaTeX is loaded with the first formula. */
function usePlugins(math: boolean): Plugins {
  const [loaded, setLoaded] = useState<Plugins | null>(withMath);
  useEffect(() => {
    if (!math || loaded !== null) return;
    let current = true;
    loadMath().then(
      (plugins) => current && setLoaded(plugins),
      () => {},
    );
    return () => {
      current = false;
    };
  }, [math, loaded]);
  return math && loaded !== null ? loaded : plain;
}

/** A model's text as Markdown. Everything in it is hostile until shown otherwise. */
export const Markdown = memo(function Markdown({ text, streaming }: { text: string; streaming: boolean }) {
  const plugins = usePlugins(hasMath(text));
  const shown = streaming ? holdBackTable(text) : text;
  const prepared = plugins === plain ? shown : prepareMath(shown, streaming);
  return (
    <Streamdown
      // Streamdown doesn't look at its plugins again.
      key={plugins === plain ? "plain" : "math"}
      className="md"
      components={components}
      isAnimating={streaming}
      parseIncompleteMarkdown={streaming}
      remend={remend}
      linkSafety={linkSafety}
      {...plugins}
    >
      {prepared}
    </Streamdown>
  );
});
