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
const DISPLAY_MAX = 20_000;

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

/** A stretch of Markdown without fenced code. */
class Prose {
  readonly #text: string;
  readonly #streaming: boolean;
  #out = "";
  #at = 0;

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
      else this.#copy(1);
    }
    return this.#out;
  }

  #copy(length: number): void {
    this.#out += this.#text.slice(this.#at, this.#at + length);
    this.#at += length;
  }

  #codeSpan(): void {
    const run = /^`+/.exec(this.#text.slice(this.#at, this.#at + 64))?.[0] ?? "`";
    const end = this.#endOfParagraph();
    let close = this.#text.indexOf(run, this.#at + run.length);
    while (close >= 0 && close < end && this.#text[close + run.length] === "`") {
      while (this.#text[close] === "`") close += 1;
      close = this.#text.indexOf(run, close);
    }
    this.#copy(close >= 0 && close < end ? close + run.length - this.#at : run.length);
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
        else this.#inline(`\\displaystyle ${inner.trim()}`);
      });
      return;
    }
    const close = this.#closingDollar();
    if (close !== null) {
      this.#copy(close + 1 - this.#at);
      return;
    }
    const rest = this.#text.slice(this.#at);
    if (this.#streaming && /^\$[^\s$\d][^$\n]{0,80}$/.test(rest) && /[\\^_=+]/.test(rest)) {
      this.#at = this.#text.length;
      return;
    }
    this.#out += "\\$";
    this.#at += 1;
  }

  /** The dollar that closes the one here, by Pandoc's rule, sharpened so that prices and `$A/$B` stay text. */
  #closingDollar(): number | null {
    const end = this.#endOfParagraph();
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
    const close = this.#text.indexOf(closing, this.#at + 2);
    const inner = close < 0 || close > end ? null : this.#text.slice(this.#at + 2, close);
    if (inner !== null && inner.trim() !== "") {
      emit(inner);
      return;
    }
    const rest = this.#text.length - this.#at;
    if (close < 0 && this.#streaming && rest < HELD_BACK_MAX) {
      this.#at = this.#text.length;
      return;
    }
    // Not a formula: what was written is shown.
    this.#out += [...this.#text.slice(this.#at, this.#at + 2)].map((character) => `\\${character}`).join("");
    this.#at += 2;
  }

  #inline(inner: string): void {
    const opened = this.#at;
    this.#at = this.#text.indexOf(closingOf(this.#text, opened), opened + 2) + 2;
    // A longer fence lets `\$` stand inside.
    const fence = inner.includes("$") ? "$$" : "$";
    const oneLine = inner.trim().replace(/\s*\n[\s>]*/g, " ");
    this.#out += `${fence}${oneLine}${fence}`;
  }

  #display(inner: string): void {
    const line = this.#lineBefore();
    if (line.trimStart().startsWith("|")) {
      this.#inline(inner);
      return;
    }
    const opened = this.#at;
    this.#at = this.#text.indexOf(closingOf(this.#text, opened), opened + 2) + 2;
    const marks = PREFIX.exec(line)?.[0] ?? "";
    const prefix = marks.replace(/[^\s>]/g, " ");
    const after = this.#takePunctuation();
    const body = `${inner.trim()}${after}`
      .split("\n")
      .map((row) => prefix + row.replace(/^[\s>]+/, ""))
      .filter((row) => row.trim() !== "")
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
    return this.#text.slice(this.#text.lastIndexOf("\n", this.#at - 1) + 1, this.#at);
  }

  /** Whether the `$$…$$` here has its line to itself. */
  #standsAlone(): boolean {
    const line = this.#lineBefore();
    const close = this.#text.indexOf("$$", this.#at + 2);
    const after = this.#text.slice(close + 2, close + 200);
    return line === (PREFIX.exec(line)?.[0] ?? "") && /^[ \t]*[.,;:]?[ \t]*(?:\n|$)/.test(after);
  }

  #endOfParagraph(): number {
    const blank = /\n[ \t>]*\n/g;
    blank.lastIndex = this.#at;
    return blank.exec(this.#text)?.index ?? this.#text.length;
  }
}

function closingOf(text: string, at: number): string {
  const opening = text.slice(at, at + 2);
  if (opening === "\\(") return "\\)";
  return opening === "\\[" ? "\\]" : "$$";
}
