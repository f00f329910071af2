import { describe, expect, it } from "vitest";
import { prepareMath } from "./math";

function check(input: string, expected: string, streaming = false) {
  expect(prepareMath(input, streaming)).toBe(expected);
}

describe("inline formulas", () => {
  it("keeps dollars and turns brackets into them", () => {
    check("so $x^2$ and \\(y\\)", "so $x^2$ and $y$");
    check("\\( a + b \\)!", "$a + b$!");
    check("over \\(two\nlines\\)", "over $two lines$");
    check("$n$th and ($k$)", "$n$th and ($k$)");
  });

  it("lets a dollar stand in a formula", () => {
    check("\\(\\text{\\$5}\\)", "$$\\text{\\$5}$$");
  });

  it("shows `$$…$$` within a line as a large inline formula", () => {
    check("see $$\\sum x$$ here", "see $\\displaystyle \\sum x$ here");
  });
});

describe("prices and other dollars", () => {
  it.each([
    ["It costs $5 or $10.", "It costs \\$5 or \\$10."],
    ["$10,000 and $20,000", "\\$10,000 and \\$20,000"],
    ["$5-$10", "\\$5-\\$10"],
    ["$HOME and $PATH", "\\$HOME and \\$PATH"],
    ["$HOME/$USER", "\\$HOME/\\$USER"],
    ["already \\$20", "already \\$20"],
    ["a lone $", "a lone \\$"],
    ["$ x $", "\\$ x \\$"],
    ["$a\n\nb$", "\\$a\n\nb\\$"],
  ])("%j", (input, expected) => check(input, expected));
});

describe("display formulas", () => {
  it("puts each on lines of its own", () => {
    check("\\[x\\]", "$$\nx\n$$");
    check("$$x$$", "$$\nx\n$$");
    check("\\[\nx\n\\]\nafter", "$$\nx\n$$\nafter");
    check("So \\[x\\] holds", "So \n\n$$\nx\n$$\n\nholds");
  });

  it("takes in the full stop behind it, and leaves out empty lines", () => {
    check("\\[x\\].", "$$\nx.\n$$");
    check("\\[a\n\nb\\]", "$$\na\nb\n$$");
  });

  it("stays within lists and quotations", () => {
    check("- \\[x\\]", "- $$\n  x\n  $$");
    check("1. so\n   \\[\n   x\n   \\]", "1. so\n   $$\n   x\n   $$");
    check("> \\[\n> x\n> \\]", "> $$\n> x\n> $$");
  });

  it("stays inline in a table", () => {
    check("| \\[x\\] |", "| $x$ |");
  });
});

describe("what isn't a formula", () => {
  it("leaves code alone", () => {
    for (const code of [
      "`$a$ \\(b\\)`",
      "``a ` $b$``",
      "```sh\necho $HOME \\[x\\]\n```",
      "~~~\n$$x$$\n~~~",
      "- ```\n  $a$\n  ```",
    ]) {
      check(`${code}\n`, `${code}\n`);
    }
  });

  it("goes on after code", () => {
    check("```\n$a\n```\n\\(x\\)", "```\n$a\n```\n$x$");
    check("````\n```\n$a\n````\n\\(x\\)", "````\n```\n$a\n````\n$x$");
  });

  it("takes a code span that is never closed for text", () => {
    check("a ` and \\(x\\)", "a ` and $x$");
  });

  it("shows brackets and dollars that are never closed, or hold nothing", () => {
    check("\\(x", "\\\\\\(x");
    check("\\[ ]", "\\\\\\[ ]");
    check("$$x", "\\$\\$x");
    check("$$$$", "\\$\\$\\$\\$");
    check("\\\\(x\\\\)", "\\\\(x\\\\)");
  });
});

describe("while the text streams in", () => {
  it("holds back a formula that isn't closed yet", () => {
    check("so \\[\nx = \\frac", "so ", true);
    check("so \\(x", "so ", true);
    check("so $$\\int", "so ", true);
    check("so $\\frac{a", "so ", true);
  });

  it("shows a bracket that its paragraph has not closed", () => {
    check("so \\(x\n\nand on", "so \\\\\\(x\n\nand on", true);
    check("so \\[x\n\nand on", "so ", true);
  });

  it("doesn't hold back prices, nor text that is no formula after all", () => {
    check("it costs $5", "it costs \\$5", true);
    check("$HOME is", "\\$HOME is", true);
    check(`\\[${"x".repeat(5000)}`, `\\\\\\[${"x".repeat(5000)}`, true);
  });

  it("never holds back what stands before code", () => {
    check("\\(x\n```\ny\n```\n", "\\\\\\(x\n```\ny\n```\n", true);
  });
});

it("reads hostile text in one go", () => {
  const pieces = [
    "$",
    "\\(",
    "\\[",
    "`",
    "$$ ",
    "$a ",
    "\\[x",
    "\\[x\\] ",
    "> - ",
    "\n>",
    "`a``b",
    "$$x$$",
    "\\(x\\)",
    "```\n",
    "a$\n",
  ];
  for (const piece of pieces) {
    const text = piece.repeat(50_000);
    expect(prepareMath(text, false).length).toBeGreaterThan(text.length / 2);
  }
});
