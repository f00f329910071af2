import { afterEach, describe, expect, it, vi } from "vitest";
import { conversation } from "../testing";
import { piecesOf, search, titled } from "./search";

describe("titles", () => {
  const list = ["Why is the sky blue?", "Ｗhales at NIGHT", "天空为什么是蓝色的"].map((title, index) => ({
    ...conversation(String(index), 1),
    title,
  }));
  const found = (query: string) => titled(list, query).map(({ id }) => id);

  it.each([
    ["", ["0", "1", "2"]],
    ["  ", ["0", "1", "2"]],
    ["blue sky", ["0"]],
    ["night whale", ["1"]],
    ["ＮＩＧＨＴ", ["1"]],
    ["蓝色", ["2"]],
    ["sky whale", []],
    [".*", []],
  ])("have all the words of %j", (query, ids) => expect(found(query)).toEqual(ids));
});

describe("the pieces of a snippet", () => {
  const shown = (marks: [number, number][]) =>
    piecesOf("the whale sings", marks)
      .map(({ text, marked }) => (marked ? `[${text}]` : text))
      .join("");

  it.each<[[number, number][], string]>([
    [[], "the whale sings"],
    [[[4, 5]], "the [whale] sings"],
    [
      [
        [0, 3],
        [10, 5],
      ],
      "[the] whale [sings]",
    ],
    [
      [
        [10, 5],
        [0, 3],
      ],
      "[the] whale [sings]",
    ],
    [
      [
        [4, 5],
        [6, 6],
      ],
      "the [whale][ si]ngs",
    ],
    [
      [
        [12, 99],
        [40, 2],
        [-5, 2],
      ],
      "the whale si[ngs]",
    ],
    [[[3, 0]], "the whale sings"],
  ])("by the marks %j", (marks, text) => expect(shown(marks)).toBe(text));

  it("count as the server counts, in UTF-16 units", () => {
    expect(piecesOf("🐳 whale", [[3, 5]])).toEqual([
      { text: "🐳 ", marked: false },
      { text: "whale", marked: true },
    ]);
  });
});

describe("asking the server", () => {
  afterEach(() => vi.unstubAllGlobals());
  const page = { results: [], scanned: 3, more: false };
  const running = () =>
    Response.json({ error: { code: "search_running", message: "wait" } }, { status: 429 });

  function serve(...answers: (() => Response)[]): string[] {
    const asked: string[] = [];
    vi.stubGlobal("fetch", async (path: string) => {
      asked.push(path);
      return (answers[asked.length - 1] ?? (() => Response.json(page)))();
    });
    return asked;
  }

  it("waits for the end of the search of before", async () => {
    const asked = serve(running, running);
    const pauses: number[] = [];
    const found = await search("a b", new AbortController().signal, async (pause_ms) => {
      pauses.push(pause_ms);
    });
    expect(found).toEqual(page);
    expect(asked).toEqual(Array(3).fill("/api/search?q=a+b&limit=50"));
    expect(pauses).toHaveLength(2);
  });

  it("asks no more when nobody waits", async () => {
    const asked = serve(running, running);
    const controller = new AbortController();
    const given = search("a", controller.signal, async () => controller.abort());
    await expect(given).rejects.toMatchObject({ name: "AbortError" });
    expect(asked).toHaveLength(1);
  });

  it("does not ask without end", async () => {
    const asked = serve(...Array(99).fill(running));
    const given = search("a", new AbortController().signal, async () => {});
    await expect(given).rejects.toMatchObject({ code: "search_running" });
    expect(asked.length).toBeLessThan(50);
  });

  it("takes another refusal as it is", async () => {
    const asked = serve(() => Response.json({ error: { code: "invalid_parameter" } }, { status: 422 }));
    await expect(search("a", new AbortController().signal)).rejects.toMatchObject({ status: 422 });
    expect(asked).toHaveLength(1);
  });
});
