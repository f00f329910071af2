import {
  createHighlighterCore,
  type GrammarState,
  type HighlighterCore,
  type ThemedToken,
} from "@shikijs/core";
import { createJavaScriptRegexEngine } from "@shikijs/engine-javascript";
import { loadGrammar } from "./languages";

/** Code longer than this stays plain, in UTF-16 units: colours aren't worth a page that hangs. */
export const HIGHLIGHT_LENGTH_MAX = 60_000;
const LINE_LENGTH_MAX = 1000;
const LINE_MS_MAX = 100;

export type Line = readonly ThemedToken[];

/** Complete lines, and the grammar's state after them, so that a growing block is read only once. */
export interface Highlighted {
  /** The text of `lines`, each line with its newline. */
  text: string;
  lines: readonly Line[];
  state: GrammarState | null;
}

const themes = { light: "github-light-high-contrast", dark: "github-dark-high-contrast" } as const;

let core: Promise<HighlighterCore> | null = null;
const loading = new Map<string, Promise<void>>();

/** The highlighter with one more grammar in it. */
export async function highlighterFor(grammar: string): Promise<HighlighterCore> {
  core ??= createHighlighterCore({
    themes: [
      import("@shikijs/themes/github-light-high-contrast"),
      import("@shikijs/themes/github-dark-high-contrast"),
    ],
    langs: [],
    // The other engine is WebAssembly, which the page's policy does not allow.
    engine: createJavaScriptRegexEngine({ forgiving: true }),
  });
  const highlighter = await core;
  let load = loading.get(grammar);
  if (load === undefined) {
    load = loadGrammar(grammar).then((registration) => highlighter.loadLanguage(registration));
    loading.set(grammar, load);
  }
  await load;
  return highlighter;
}

/** Colours `code`, going on from `before` where it is a prefix. The last line, if unfinished, is not kept in `text`. */
export function highlight(
  highlighter: HighlighterCore,
  grammar: string,
  code: string,
  before: Highlighted | null,
): { kept: Highlighted; lines: readonly Line[] } {
  const start: Highlighted =
    before !== null && code.startsWith(before.text) ? before : { text: "", lines: [], state: null };
  const cut = code.lastIndexOf("\n") + 1;
  let kept = start;
  if (cut > start.text.length) {
    const added = tokens(highlighter, grammar, code.slice(start.text.length, cut - 1), start.state);
    kept = { text: code.slice(0, cut), lines: [...start.lines, ...added.lines], state: added.state };
  }
  const tail = code.slice(cut);
  if (tail === "") return { kept, lines: kept.lines };
  return { kept, lines: [...kept.lines, ...tokens(highlighter, grammar, tail, kept.state).lines] };
}

function tokens(
  highlighter: HighlighterCore,
  grammar: string,
  code: string,
  state: GrammarState | null,
): { lines: readonly Line[]; state: GrammarState | null } {
  const result = highlighter.codeToTokens(code, {
    lang: grammar,
    themes,
    defaultColor: false,
    tokenizeMaxLineLength: LINE_LENGTH_MAX,
    tokenizeTimeLimit: LINE_MS_MAX,
    ...(state === null ? {} : { grammarState: state }),
  });
  return { lines: result.tokens, state: result.grammarState ?? null };
}
