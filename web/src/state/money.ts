/** Amounts of money are decimal texts of up to nine places, and are added as whole numbers of the smallest of them. */

const PLACES = 9;
const UNIT = 10n ** BigInt(PLACES);
const AMOUNT = /^(-?)(\d{1,10})(?:\.(\d{1,9}))?$/;

/** The amount in billionths, or null for what is none. */
export function nanosOf(text: string): bigint | null {
  const found = AMOUNT.exec(text.trim());
  if (found === null) return null;
  const [, sign, whole = "0", part = ""] = found;
  const nanos = BigInt(whole) * UNIT + BigInt(part.padEnd(PLACES, "0"));
  return sign === "-" ? -nanos : nanos;
}

/** The decimal text of an amount in billionths. */
export function amountOf(nanos: bigint): string {
  const digits = (nanos < 0n ? -nanos : nanos).toString().padStart(PLACES + 1, "0");
  const part = digits.slice(-PLACES).replace(/0+$/, "");
  return `${nanos < 0n ? "-" : ""}${digits.slice(0, -PLACES)}${part === "" ? "" : `.${part}`}`;
}

export const sumOf = (amounts: readonly string[]): string =>
  amountOf(amounts.reduce((sum, amount) => sum + (nanosOf(amount) ?? 0n), 0n));

/** The decimal text of an amount as somebody writes it, with their language's comma or with a point; null for what is none. */
export function amountIn(text: string, language: string): string | null {
  const comma = new Intl.NumberFormat(language)
    .formatToParts(0.5)
    .find(({ type }) => type === "decimal")?.value;
  const nanos = nanosOf(comma === undefined ? text : text.replace(comma, "."));
  return nanos === null ? null : amountOf(nanos);
}

/** An amount as people read it: two places, and more where it is so small that they would show little. */
export function moneyText(amount: string, currency: string, language: string): string {
  const nanos = nanosOf(amount) ?? 0n;
  const size = nanos < 0n ? -nanos : nanos;
  const most = size >= UNIT || size === 0n ? 2 : size >= UNIT / 100n ? 4 : PLACES;
  const places = { minimumFractionDigits: 2, maximumFractionDigits: most };
  // It is given as text, which is not turned into a binary fraction on the way.
  const text = amountOf(nanos) as unknown as number;
  try {
    return new Intl.NumberFormat(language, { style: "currency", currency, ...places }).format(text);
  } catch {
    // The operator may count in something that is no currency of this world.
    return `${new Intl.NumberFormat(language, places).format(text)} ${currency}`;
  }
}
