import { describe, expect, it } from "vitest";
import { en as enAdmin } from "./admin/en";
import { fr as frAdmin } from "./admin/fr";
import { zh as zhAdmin } from "./admin/zh";
import { en } from "./en";
import { fr } from "./fr";
import { en as enPrograms } from "./programs/en";
import { fr as frPrograms } from "./programs/fr";
import { zh as zhPrograms } from "./programs/zh";
import { zh } from "./zh";

type Tree = { readonly [key: string]: string | Tree };

/** Each message's path, with the names that it takes in. */
function slots(tree: Tree, path = ""): Record<string, string[]> {
  return Object.fromEntries(
    Object.entries(tree).flatMap(([key, value]) =>
      typeof value === "string"
        ? [[`${path}${key}`, [...value.matchAll(/\{\{(\w+)\}\}/g)].map((match) => match[1] ?? "").sort()]]
        : Object.entries(slots(value, `${path}${key}.`)),
    ),
  );
}

describe.each([
  ["fr", fr, en],
  ["zh", zh, en],
  ["fr, admin", frAdmin, enAdmin],
  ["zh, admin", zhAdmin, enAdmin],
  ["fr, programs", frPrograms, enPrograms],
  ["zh, programs", zhPrograms, enPrograms],
])("the catalogue %s", (_, catalogue, english) => {
  it("has every message of the English one, with the same things to fill in", () => {
    expect(slots(catalogue)).toEqual(slots(english));
  });
});

describe("what stands in a field until something is typed", () => {
  it.each([
    ["en", en, enAdmin],
    ["fr", fr, frAdmin],
    ["zh", zh, zhAdmin],
  ])("fits on a small phone: %s", (_, catalogue, admin) => {
    // At 360 px a field has some 230, and a letter of 16 px takes 8 on average; a Chinese character takes two letters' room.
    const width = (text: string): number =>
      [...text].reduce((sum, letter) => sum + (letter.charCodeAt(0) > 0x2000 ? 2 : 1), 0);
    for (const text of [catalogue.search.placeholder, admin.list.placeholder, admin.log.user])
      expect(width(text), text).toBeLessThanOrEqual(28);
  });
});
