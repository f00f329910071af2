import { type Passkey, type Password, security } from "../api/security";
import { askPasskey, canOfferByAutofill, makePasskey } from "../api/webauthn";
import { type Problem, type Refusal, refusalOf, Trouble } from "./account";
import { loginPasskey } from "./session";

/** Coming in by a passkey, and making one. */

const NAME_LENGTH_MAX = 64;
/** So many that were refused are told of; a browser that goes on without being asked is not to keep the server busy. */
const REFUSED_MAX = 5;
/** How long the options are good for, where they don't say so. */
const OPTIONS_MS = 120_000;

export function passkeyNameProblem(name: string): Problem | null {
  const { length } = [...name.trim()];
  return length >= 1 && length <= NAME_LENGTH_MAX && !/\p{Cc}/u.test(name.trim()) ? null : "passkeyName";
}

const byName: Readonly<Record<string, Problem>> = {
  NotAllowedError: "passkeyCancelled",
  AbortError: "passkeyCancelled",
  InvalidStateError: "passkeyKnown",
  SecurityError: "passkeyHost",
  NotSupportedError: "passkeyUnsupported",
  ConstraintError: "passkeyUnsupported",
};

/** What the browser says in the name of its error only; it tells no more, so as not to tell pages who has a passkey. */
export function browserTrouble(error: unknown): unknown {
  const problem = error instanceof DOMException ? byName[error.name] : undefined;
  return problem === undefined ? error : new Trouble(problem);
}

/** Signs in by a passkey that the browser asks for at once. */
export async function signInByPasskey(signal: AbortSignal): Promise<void> {
  const { ticket, options } = await security.loginPasskeyOptions();
  const credential = await askPasskey(options, signal, "optional").catch((error: unknown) => {
    throw browserTrouble(error);
  });
  await loginPasskey(ticket, credential);
}

/** Resolves once the page is seen; there is no one to offer anything to before. */
function seen(signal: AbortSignal): Promise<void> {
  if (document.visibilityState === "visible" || signal.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      if (document.visibilityState !== "visible" && !signal.aborted) return;
      document.removeEventListener("visibilitychange", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    document.addEventListener("visibilitychange", done);
    signal.addEventListener("abort", done);
  });
}

/**
 * Has the browser offer passkeys at the name's field until `signal`: before the options are too old, new ones take their place.
 * Where it can't be done nothing is said, as nobody has asked for it; `tell` hears of a passkey that was chosen and refused.
 */
export async function offerPasskeys(signal: AbortSignal, tell: (refusal: Refusal) => void): Promise<void> {
  try {
    if (!(await canOfferByAutofill())) return;
    let refused = 0;
    while (!signal.aborted && refused < REFUSED_MAX) {
      await seen(signal);
      if (!signal.aborted && (await offerOnce(signal, tell)) === "refused") refused += 1;
    }
  } catch {
    // The button is still there.
  }
}

type Offered = "old" | "taken" | "refused";

async function offerOnce(signal: AbortSignal, tell: (refusal: Refusal) => void): Promise<Offered> {
  const { ticket, options } = await security.loginPasskeyOptions();
  const old = AbortSignal.timeout((options.timeout ?? OPTIONS_MS) * 0.8);
  let credential: AuthenticationResponseJSON;
  try {
    credential = await askPasskey(options, AbortSignal.any([signal, old]), "conditional");
  } catch (error) {
    if (old.aborted && !signal.aborted) return "old";
    throw error;
  }
  try {
    await loginPasskey(ticket, credential);
    return "taken";
  } catch (error) {
    if (!signal.aborted) tell(refusalOf(error));
    return "refused";
  }
}

/** Makes a passkey and gives it to the server under `name`. */
export async function addPasskey(name: string, password: Password): Promise<Passkey> {
  const { ticket, options } = await security.passkeyOptions(password);
  const credential = await makePasskey(options).catch((error: unknown) => {
    throw browserTrouble(error);
  });
  return security.addPasskey(ticket, name, credential);
}
