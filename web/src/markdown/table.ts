/**
 * The text without a table that has only begun. Markdown knows a table by its second line, so that until then its header
 * would be shown as a line of bars.
 */
export function holdBackTable(markdown: string): string {
  const lines = markdown.split("\n");
  let first = lines.length;
  while (first > 0 && /^\s*\|/.test(lines[first - 1] ?? "")) first -= 1;
  const rows = lines.slice(first);
  if (rows.length === 0 || rows.length > 2) return markdown;
  // The second line is complete with its line end; a first one alone may still become a header.
  const delimiter = rows[1];
  if (delimiter !== undefined && !/^[\s|:-]*$/.test(delimiter)) return markdown;
  return lines.slice(0, first).join("\n");
}
