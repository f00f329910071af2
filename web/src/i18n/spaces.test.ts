import { expect, it } from "vitest";
import { withFrenchSpaces } from "./spaces";

it.each([
  ["Supprimer ?", "Supprimer\u00a0?"],
  ["« Moby » : quel nom !", "«\u00a0Moby\u00a0»\u00a0: quel nom\u00a0!"],
  ["{{count}} s ; à 12:30", "{{count}} s\u00a0; à 12:30"],
  ["rien de tel", "rien de tel"],
])("sets %j as %j", (written, set) => {
  expect(withFrenchSpaces({ a: written, b: { c: written } })).toEqual({ a: set, b: { c: set } });
});
