/** Amounts of money are decimal texts of up to nine places, and are added as whole numbers of the smallest of them. */

const PLACES = 9;
const AMOUNT = /^(-?)(\d{1,10})(?:\.(\d{1,9}))?$/;

/** The amount in billionths, or null for what is none. */
export function nanosOf(text: string): bigint | null {
  const found = AMOUNT.exec(text.trim());
  if (found === null) return null;
  const [, sign, whole = "0", part = ""] = found;
  const nanos = BigInt(whole) * 10n ** BigInt(PLACES) + BigInt(part.padEnd(PLACES, "0"));
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

/** An amount as people read it: two places, and more where it is so small that they would show nothing. */
export function moneyText(amount: string, currency: string, language: string): string {
  const nanos = nanosOf(amount) ?? 0n;
  const size = nanos < 0n ? -nanos : nanos;
  const small = size !== 0n && size < 10n ** BigInt(PLACES);
  const places = { minimumFractionDigits: 2, maximumFractionDigits: small ? 6 : 2 };
  // It is given as text, which is not turned into a binary fraction on the way.
  const text = amountOf(nanos) as unknown as number;
  try {
    return new Intl.NumberFormat(language, { style: "currency", currency, ...places }).format(text);
  } catch {
    // The operator may count in something that is no currency of this world.
    return `${new Intl.NumberFormat(language, places).format(text)} ${currency}`;
  }
}
