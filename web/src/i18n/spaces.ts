type Tree = { readonly [key: string]: string | Tree };

const NO_BREAK = "\u00a0";

/** French sets a space before high punctuation and within its quotation marks, where no line may end. */
const keptTogether = (text: string): string =>
  text.replace(/ (?=[?!:;»])/g, NO_BREAK).replace(/(?<=«) /g, NO_BREAK);

/** A French catalogue as it is to be set, of one that is written with plain spaces. */
export function withFrenchSpaces<Catalogue extends Tree>(catalogue: Catalogue): Catalogue {
  const entries = Object.entries(catalogue).map(([key, value]) => [
    key,
    typeof value === "string" ? keptTogether(value) : withFrenchSpaces(value),
  ]);
  return Object.fromEntries(entries) as Catalogue;
}
