import "katex/dist/katex.min.css";
import type { Options as KatexOptions } from "rehype-katex";
import rehypeKatex from "rehype-katex";
import remarkMath from "remark-math";

/** Formulas are hostile input too: no commands that load or link, no macro bombs, no rules as large as a page. */
const options: KatexOptions = {
  trust: false,
  maxExpand: 500,
  maxSize: 20,
  strict: "ignore",
  errorColor: "var(--muted)",
};

export const mathRemark = [remarkMath, { singleDollarTextMath: true }] as const;
export const mathRehype = [rehypeKatex, options] as const;
