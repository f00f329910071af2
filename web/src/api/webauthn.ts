/**
 * The browser's passkeys, with their options and answers as JSON. Browsers that can't yet translate these themselves get it
 * done here: every field that holds bytes is base64url without padding in the JSON.
 */

type Bytes = Uint8Array<ArrayBuffer>;

/** The bytes of a base64url text; throws where it isn't one. */
export function bytesOf(text: string): Bytes {
  if (!/^[\w-]*$/.test(text)) throw new TypeError("this is not base64url");
  const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  return Uint8Array.from(binary, (character) => character.charCodeAt(0));
}

export function base64UrlOf(bytes: ArrayBuffer): string {
  let binary = "";
  for (const byte of new Uint8Array(bytes)) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// --- options: from JSON ---

const listed = (known: readonly PublicKeyCredentialDescriptorJSON[] = []): PublicKeyCredentialDescriptor[] =>
  known.map(({ id, type, transports }) => ({
    id: bytesOf(id),
    type: type as PublicKeyCredentialType,
    ...(transports === undefined ? {} : { transports: transports as AuthenticatorTransport[] }),
  }));

/** What is asked of the browser for a sign-in. Of extensions, none of which we ask for holds bytes. */
export function requestOptions(
  json: PublicKeyCredentialRequestOptionsJSON,
): PublicKeyCredentialRequestOptions {
  return {
    ...(json as object),
    challenge: bytesOf(json.challenge),
    allowCredentials: listed(json.allowCredentials),
  };
}

export function creationOptions(
  json: PublicKeyCredentialCreationOptionsJSON,
): PublicKeyCredentialCreationOptions {
  return {
    ...(json as unknown as PublicKeyCredentialCreationOptions),
    challenge: bytesOf(json.challenge),
    user: { ...json.user, id: bytesOf(json.user.id) },
    excludeCredentials: listed(json.excludeCredentials),
  };
}

function parsedRequest(json: PublicKeyCredentialRequestOptionsJSON): PublicKeyCredentialRequestOptions {
  return typeof PublicKeyCredential.parseRequestOptionsFromJSON === "function"
    ? PublicKeyCredential.parseRequestOptionsFromJSON(json)
    : requestOptions(json);
}

function parsedCreation(json: PublicKeyCredentialCreationOptionsJSON): PublicKeyCredentialCreationOptions {
  return typeof PublicKeyCredential.parseCreationOptionsFromJSON === "function"
    ? PublicKeyCredential.parseCreationOptionsFromJSON(json)
    : creationOptions(json);
}

// --- answers: to JSON ---

const common = (credential: PublicKeyCredential) => ({
  id: credential.id,
  rawId: base64UrlOf(credential.rawId),
  type: credential.type,
  clientExtensionResults: credential.getClientExtensionResults() as Record<string, never>,
  ...(credential.authenticatorAttachment === null
    ? {}
    : { authenticatorAttachment: credential.authenticatorAttachment }),
});

export function assertionJson(credential: PublicKeyCredential): AuthenticationResponseJSON {
  const response = credential.response as AuthenticatorAssertionResponse;
  return {
    ...common(credential),
    response: {
      clientDataJSON: base64UrlOf(response.clientDataJSON),
      authenticatorData: base64UrlOf(response.authenticatorData),
      signature: base64UrlOf(response.signature),
      ...(response.userHandle === null ? {} : { userHandle: base64UrlOf(response.userHandle) }),
    },
  };
}

/** As the browser would write it, less what its own program reads out of the attestation for convenience. */
export function attestationJson(credential: PublicKeyCredential): RegistrationResponseJSON {
  const response = credential.response as AuthenticatorAttestationResponse;
  return {
    ...common(credential),
    response: {
      clientDataJSON: base64UrlOf(response.clientDataJSON),
      attestationObject: base64UrlOf(response.attestationObject),
      transports: response.getTransports?.() ?? [],
    } as RegistrationResponseJSON["response"],
  };
}

const translates = (credential: PublicKeyCredential): boolean => typeof credential.toJSON === "function";

// --- the browser ---

export const passkeysSupported = (): boolean =>
  window.isSecureContext && typeof PublicKeyCredential === "function";

/** Whether the browser can offer passkeys among what it would fill into the name's field. */
export async function canOfferByAutofill(): Promise<boolean> {
  if (!passkeysSupported() || typeof PublicKeyCredential.isConditionalMediationAvailable !== "function")
    return false;
  return PublicKeyCredential.isConditionalMediationAvailable();
}

/** Has the user choose a passkey and prove that they hold it; `conditional` waits until one is chosen at the name's field. */
export async function askPasskey(
  options: PublicKeyCredentialRequestOptionsJSON,
  signal: AbortSignal,
  mediation: CredentialMediationRequirement,
): Promise<AuthenticationResponseJSON> {
  const credential = (await navigator.credentials.get({
    publicKey: parsedRequest(options),
    mediation,
    signal,
  })) as PublicKeyCredential | null;
  if (credential === null) throw new DOMException("no passkey was chosen", "NotAllowedError");
  return translates(credential)
    ? (credential.toJSON() as AuthenticationResponseJSON)
    : assertionJson(credential);
}

/** Has the browser or a key make a new passkey. */
export async function makePasskey(
  options: PublicKeyCredentialCreationOptionsJSON,
): Promise<RegistrationResponseJSON> {
  const credential = (await navigator.credentials.create({
    publicKey: parsedCreation(options),
  })) as PublicKeyCredential | null;
  if (credential === null) throw new DOMException("no passkey was made", "NotAllowedError");
  return translates(credential)
    ? (credential.toJSON() as RegistrationResponseJSON)
    : attestationJson(credential);
}
