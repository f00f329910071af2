/** The few HTML tags that models write for want of Markdown; all others are shown as the text that they are. */

interface Node {
  type: string;
  value?: string;
  children?: Node[];
}

function visit(node: Node): void {
  if (node.children === undefined) return;
  node.children = node.children.flatMap((child) => {
    if (child.type !== "html") {
      visit(child);
      return [child];
    }
    const html = child.value?.trim() ?? "";
    if (/^<br\s*\/?>$/i.test(html)) return [{ type: "break" }];
    if (/^<!--[\s\S]*-->$/.test(html)) return [];
    return [child];
  });
}

/** Line breaks from `<br>`, and no comments. */
export function remarkLineBreaks() {
  return (tree: unknown): void => {
    const root = tree as Node;
    if (root.children !== undefined) visit(root);
  };
}
