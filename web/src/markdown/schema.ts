import { defaultSchema, type Options as Schema } from "rehype-sanitize";

/** What of a rendered answer reaches the page. HTML in an answer is text before it comes here. */
export const schema: Schema = {
  ...defaultSchema,
  tagNames: (defaultSchema.tagNames ?? []).filter(
    (name) => !["picture", "source", "details", "summary"].includes(name),
  ),
  attributes: {
    ...defaultSchema.attributes,
    code: [["className", /^language-./, "math-inline", "math-display"]],
  },
  protocols: { href: ["http", "https", "mailto"], src: ["http", "https"] },
};

/** The address, if a link may lead there: http, https and mailto, and nothing else. */
export function safeHref(href: string | undefined): string | null {
  if (href === undefined) return null;
  try {
    const url = new URL(href);
    return ["http:", "https:", "mailto:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
