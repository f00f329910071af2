import { cleanup, configure, render, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { startLanguages } from "../i18n";
import { Markdown } from "./Markdown";

// The formula and code renderers load lazily; how long that takes is no concern of these tests.
configure({ asyncUtilTimeout: 60_000 });

beforeAll(startLanguages);
afterEach(cleanup);

const draw = (text: string, streaming = false) =>
  render(<Markdown text={text} streaming={streaming} />).container;

/** Elements and attributes that have no business in an answer, however it is written. */
function expectHarmless(container: HTMLElement) {
  expect(
    container.querySelector("script, iframe, object, embed, form, style, link, img, video, base, meta"),
  ).toBeNull();
  for (const element of container.querySelectorAll("*")) {
    for (const { name, value } of element.attributes) {
      expect(name).not.toMatch(/^on/i);
      expect(name).not.toBe("srcdoc");
      if (name === "href") expect(value).toMatch(/^(?:https?|mailto):/);
      if (name === "src") expect.unreachable(`${element.outerHTML} loads something`);
    }
  }
}

describe("hostile Markdown", () => {
  it.each([
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "text <svg onload=alert(1)> text",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    '<a href="javascript:alert(1)">x</a>',
    "[x](javascript:alert(1))",
    "[x](JaVaScRiPt:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#106;avascript:alert(1))",
    "[x](data:text/html,<script>alert(1)</script>)",
    "[x](vbscript:msgbox)",
    "[x](file:///etc/passwd)",
    "[x](//evil.example/)",
    "[x](#composer)",
    "<javascript:alert(1)>",
    "[x]: javascript:alert(1)\n\n[x]",
    "![x](https://evil.example/pixel.png)",
    "![x](javascript:alert(1))",
    "![x](data:image/svg+xml,<svg onload=alert(1)>)",
    "<style>* { display: none }</style>",
    "<meta http-equiv=refresh content='0;url=https://evil.example'>",
    "<form action=https://evil.example><input name=q></form>",
    "```html\n<script>alert(1)</script>\n```",
    '```"><script>alert(1)</script>\nx\n```',
    "`<script>alert(1)</script>`",
    "| <img src=x onerror=alert(1)> |\n|---|\n| <script>alert(1)</script> |",
    "$\\href{javascript:alert(1)}{x}$ $\\includegraphics{https://evil.example/x.png}$",
    "$\\htmlData{onclick=alert(1)}{x}$ $\\url{javascript:alert(1)}$",
    "x[^1]\n\n[^1]: <script>alert(1)</script>",
  ])("%j", async (text) => {
    for (const streaming of [false, true]) {
      const container = draw(text, streaming);
      expectHarmless(container);
      if (text.includes("$"))
        await waitFor(() => expect(container.querySelector(".katex, .katex-error")).not.toBeNull());
      expectHarmless(container);
    }
  });

  it("shows HTML as the text that it is", () => {
    expect(draw("a <b>bold</b> word").textContent).toContain("<b>bold</b>");
    expect(draw("<div>\nblock\n</div>").textContent).toContain("<div>");
  });
});

describe("what Markdown is for", () => {
  it("opens links elsewhere and tells nobody whence", () => {
    const link = draw("[site](https://example.com/a?b=c) and a@example.com").querySelectorAll("a");
    expect(link[0]?.getAttribute("href")).toBe("https://example.com/a?b=c");
    expect(link[0]?.getAttribute("rel")).toBe("noopener noreferrer");
    expect(link[0]?.getAttribute("target")).toBe("_blank");
    expect(link[1]?.getAttribute("href")).toBe("mailto:a@example.com");
  });

  it("shows a remote picture as a link with its host", () => {
    const link = draw("![a whale](https://example.com/whale.png)").querySelector("a");
    expect(link?.getAttribute("href")).toBe("https://example.com/whale.png");
    expect(link?.textContent).toBe("a whaleexample.com");
  });

  it("breaks lines at <br>, also in tables", () => {
    expect(draw("| a |\n|---|\n| b<br>c |").querySelector("td br")).not.toBeNull();
  });

  it("puts headings below those of the page", () => {
    const container = draw("# One\n\n###### Six");
    expect([...container.querySelectorAll("[data-level]")].map((element) => element.tagName)).toEqual([
      "H3",
      "H6",
    ]);
  });

  it("shows code with its language, whole and unchanged", () => {
    const container = draw('```python title="x"\nprint("<b>")\n\n  x\n```');
    expect(container.querySelector("figcaption")?.textContent).toContain("python");
    expect(container.querySelector("pre")?.textContent).toBe('print("<b>")\n\n  x');
  });

  it("colours code without changing its text", async () => {
    const code = "def f(x):\n    '''two\n    lines'''\n\n    return x  # $5\n";
    const container = draw(`\`\`\`py\n${code}\`\`\``);
    await waitFor(() => expect(container.querySelector("pre [style*=shiki]")).not.toBeNull());
    expect(container.querySelector("pre")?.textContent).toBe(code.trimEnd());
  });

  it("sets formulas in every delimiter", async () => {
    const container = draw("\\(a\\) $b$\n\n\\[c\\]\n\n$$d$$\n\n`$e$` and $5 or $10");
    await waitFor(() => expect(container.querySelectorAll(".katex")).toHaveLength(4));
    expect(container.querySelectorAll(".katex-display")).toHaveLength(2);
    expect(container.textContent).toContain("$5 or $10");
    expect(container.querySelector("p code")?.textContent).toBe("$e$");
  });

  it("survives a formula that can't be set", async () => {
    const container = draw("$\\frac{$ and $\\undefinedcommand$ and text $x$");
    await waitFor(() => expect(container.querySelector(".katex")).not.toBeNull());
    expect(container.textContent).toContain("and text");
  });

  it("names the boxes of a task list", () => {
    const container = draw("- [x] a\n- [ ] b");
    const boxes = [...container.querySelectorAll("[role=img]")].map((box) => box.getAttribute("aria-label"));
    expect(boxes).toHaveLength(2);
    expect(boxes[0]).not.toBe(boxes[1]);
    expect(container.querySelector("input")).toBeNull();
  });
});
