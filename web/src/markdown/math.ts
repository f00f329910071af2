/**
 * LaTeX as models write it, turned into the `$…$` and `$$…$$` of remark-math.
 *
 * Models mix `\(…\)`, `\[…\]`, `$…$` and `$$…$$`, put display formulas in the middle of lines and write prices with the
 * same dollar. Code is left alone; a dollar that opens no formula is escaped; while an answer still streams in, a
 * formula that isn't closed yet is held back, so that its source doesn't flash past.
 */

const FENCE = /^[\s>]*(?:(?:[-*+]|\d{1,9}[.)])\s+)*(`{3,}|~{3,})/;
/** Block quote and list marks at the start of a line. */
const PREFIX = /^[\s>]*(?:(?:[-*+]|\d{1,9}[.)])\s+)*/;
/** How much text an unclosed formula may hold back, in UTF-16 units. */
const HELD_BACK_MAX = 4000;
/** The longest formula within a line by single dollars, and on lines of its own, in UTF-16 units. */
const INLINE_MAX = 500;
const DISPLAY_MAX = 20_000;
/** How much text after a single dollar may wait for the second one. */
const UNCLOSED_MAX = 80;

export function hasMath(markdown: string): boolean {
  return /\$|\\\(|\\\[/.test(markdown);
}

export function prepareMath(markdown: string, streaming: boolean): string {
  if (!hasMath(markdown)) return markdown;
  let out = "";
  let prose: string[] = [];
  let fence: string | null = null;
  const flush = (last: boolean) => {
    if (prose.length > 0) out += new Prose(prose.join(""), streaming && last).convert();
    prose = [];
  };
  for (const line of markdown.split(/(?<=\n)/)) {
    const mark = FENCE.exec(line)?.[1];
    if (fence !== null) {
      out += line;
      if (mark?.startsWith(fence) && line.trim().replace(/^[\s>]*/, "") === mark) fence = null;
    } else if (mark !== undefined) {
      flush(false);
      fence = mark;
      out += line;
    } else {
      prose.push(line);
    }
  }
  flush(true);
  return out;
}

/** A stretch of Markdown without fenced code. Hostile text must not cost more than time in proportion to its length. */
class Prose {
  readonly #text: string;
  readonly #streaming: boolean;
  readonly #found = new Map<string, number>();
  #out = "";
  #at = 0;
  #paragraphEnd = -1;
  #lineStart = 0;

  constructor(text: string, streaming: boolean) {
    this.#text = text;
    this.#streaming = streaming;
  }

  convert(): string {
    while (this.#at < this.#text.length) {
      const character = this.#text[this.#at];
      if (character === "`") this.#codeSpan();
      else if (character === "\\") this.#backslash();
      else if (character === "$") this.#dollar();
      else this.#copy(this.#match(/[^`\\$]+/y).length);
    }
    return this.#out;
  }

  #match(sticky: RegExp): string {
    sticky.lastIndex = this.#at;
    return sticky.exec(this.#text)?.[0] ?? "";
  }

  #copy(length: number): void {
    this.#out += this.#text.slice(this.#at, this.#at + length);
    this.#at += length;
  }

  /** Where `wanted` stands next, at `from` or later; the end of the text where it doesn't. `from` only ever grows. */
  #next(wanted: string, from: number): number {
    const known = this.#found.get(wanted);
    if (known !== undefined && known >= from) return known;
    const at = this.#text.indexOf(wanted, from);
    const found = at < 0 ? this.#text.length : at;
    this.#found.set(wanted, found);
    return found;
  }

  #codeSpan(): void {
    const run = this.#match(/`+/y);
    const end = this.#endOfParagraph();
    const runs = /`+/g;
    runs.lastIndex = this.#at + run.length;
    for (let next = runs.exec(this.#text); next !== null && next.index < end; next = runs.exec(this.#text)) {
      if (next[0].length === run.length) {
        this.#copy(runs.lastIndex - this.#at);
        return;
      }
    }
    this.#copy(run.length);
  }

  #backslash(): void {
    const next = this.#text[this.#at + 1];
    if (next === "(") this.#delimited("\\)", this.#endOfParagraph(), (inner) => this.#inline(inner));
    else if (next === "[") this.#delimited("\\]", this.#at + DISPLAY_MAX, (inner) => this.#display(inner));
    else this.#copy(2);
  }

  #dollar(): void {
    if (this.#text.startsWith("$$", this.#at)) {
      this.#delimited("$$", this.#at + DISPLAY_MAX, (inner) => {
        if (inner.includes("\n") || this.#standsAlone()) this.#display(inner);
        else this.#inline(inner, "\\displaystyle ");
      });
      return;
    }
    const close = this.#closingDollar();
    if (close !== null) {
      this.#copy(close + 1 - this.#at);
      return;
    }
    const rest = this.#text.slice(this.#at, this.#at + UNCLOSED_MAX + 1);
    const isLast = this.#streaming && rest.length <= UNCLOSED_MAX;
    if (isLast && /^\$[^\s$\d][^$\n]*$/.test(rest) && /[\\^_=+]/.test(rest)) {
      this.#at = this.#text.length;
      return;
    }
    this.#out += "\\$";
    this.#at += 1;
  }

  /** The dollar that closes the one here, by Pandoc's rule, sharpened so that prices and `$A/$B` stay text. */
  #closingDollar(): number | null {
    const end = Math.min(this.#endOfParagraph(), this.#at + INLINE_MAX);
    if (/[\s$]/.test(this.#text[this.#at + 1] ?? " ")) return null;
    for (let at = this.#at + 1; at < end; at += 1) {
      const character = this.#text[at];
      if (character === "\\") at += 1;
      else if (character === "`") return null;
      else if (character === "$") {
        const before = this.#text[at - 1] ?? " ";
        const after = this.#text[at + 1] ?? " ";
        if (!/\s/.test(before) && !/[\dA-Z_{$]/.test(after)) return at;
      }
    }
    return null;
  }

  /** Hands what stands between the two-character delimiter here and `closing` to `emit`, which moves on past it. */
  #delimited(closing: string, end: number, emit: (inner: string) => void): void {
    const close = this.#next(closing, this.#at + 2);
    const closed = close < this.#text.length && close <= end;
    const inner = closed ? this.#text.slice(this.#at + 2, close) : null;
    if (inner !== null && inner.trim() !== "") {
      emit(inner);
      return;
    }
    const rest = this.#text.length - this.#at;
    const open = close === this.#text.length && end >= this.#text.length;
    if (open && this.#streaming && rest < HELD_BACK_MAX) {
      this.#at = this.#text.length;
      return;
    }
    // Not a formula: what was written is shown.
    this.#out += [...this.#text.slice(this.#at, this.#at + 2)].map((character) => `\\${character}`).join("");
    this.#at += 2;
  }

  #inline(inner: string, style = ""): void {
    this.#at += inner.length + 4;
    // A longer fence lets `\$` stand inside.
    const fence = inner.includes("$") ? "$$" : "$";
    const oneLine = inner.trim().replace(/\s*\n[\s>]*/g, " ");
    this.#out += `${fence}${style}${oneLine}${fence}`;
  }

  #display(inner: string): void {
    const line = this.#lineBefore();
    if (line.trimStart().startsWith("|")) {
      this.#inline(inner);
      return;
    }
    this.#at += inner.length + 4;
    const marks = PREFIX.exec(line)?.[0] ?? "";
    const prefix = marks.replace(/[^\s>]/g, " ");
    const after = this.#takePunctuation();
    const body = `${inner.trim()}${after}`
      .split("\n")
      .map((row) => row.replace(/^[\s>]+/, ""))
      .filter((row) => row !== "")
      .map((row) => prefix + row)
      .join("\n");
    const alone = line === marks;
    this.#out += `${alone ? "" : `\n\n${prefix}`}$$\n${body}\n${prefix}$$`;
    if (!/^[ \t]*(?:\n|$)/.test(this.#text.slice(this.#at, this.#at + 200))) {
      this.#out += `\n\n${prefix}`;
      while (/[ \t]/.test(this.#text[this.#at] ?? "")) this.#at += 1;
    }
  }

  /** A full stop or comma alone after a display formula belongs to it. */
  #takePunctuation(): string {
    const found = /^[ \t]*([.,;:])[ \t]*(?=\n|$)/.exec(this.#text.slice(this.#at, this.#at + 40));
    if (found === null) return "";
    this.#at += found[0].length;
    return found[1] ?? "";
  }

  #lineBefore(): string {
    for (;;) {
      const newline = this.#next("\n", this.#lineStart);
      if (newline >= this.#at) return this.#text.slice(this.#lineStart, this.#at);
      this.#lineStart = newline + 1;
    }
  }

  /** Whether the `$$…$$` here has its line to itself. */
  #standsAlone(): boolean {
    const line = this.#lineBefore();
    const close = this.#next("$$", this.#at + 2);
    const after = this.#text.slice(close + 2, close + 200);
    return line === (PREFIX.exec(line)?.[0] ?? "") && /^[ \t]*[.,;:]?[ \t]*(?:\n|$)/.test(after);
  }

  #endOfParagraph(): number {
    if (this.#at >= this.#paragraphEnd) {
      const blank = /\n[ \t>]*\n/g;
      blank.lastIndex = this.#at;
      this.#paragraphEnd = blank.exec(this.#text)?.index ?? this.#text.length;
    }
    return this.#paragraphEnd;
  }
}
