import { describe, expect, it } from "vitest";
import { en } from "./en";
import { fr } from "./fr";
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
  ["fr", fr],
  ["zh", zh],
])("the catalogue %s", (_, catalogue) => {
  it("has every message of the English one, with the same things to fill in", () => {
    expect(slots(catalogue)).toEqual(slots(en));
  });
});
