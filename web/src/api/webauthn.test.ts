import { afterEach, describe, expect, it, vi } from "vitest";
import {
  askPasskey,
  assertionJson,
  attestationJson,
  base64UrlOf,
  bytesOf,
  canOfferByAutofill,
  creationOptions,
  makePasskey,
  requestOptions,
} from "./webauthn";

afterEach(() => vi.unstubAllGlobals());

const bytes = (...values: number[]): ArrayBuffer => new Uint8Array(values).buffer;
const list = (buffer: BufferSource): number[] => [...new Uint8Array(buffer as ArrayBuffer)];

describe("base64url", () => {
  it.each([
    [[], ""],
    [[0], "AA"],
    [[102, 111], "Zm8"],
    [[102, 111, 111], "Zm9v"],
    [[0xfb, 0xff, 0xbe], "-_--"],
    [[255, 255, 255, 254], "_____g"],
  ])("%j is %j, and back", (values, text) => {
    expect(base64UrlOf(bytes(...values))).toBe(text);
    expect(list(bytesOf(text))).toEqual(values);
  });

  it("carries every byte", () => {
    const all = Array.from({ length: 256 }, (_, value) => value);
    expect(list(bytesOf(base64UrlOf(bytes(...all))))).toEqual(all);
  });

  it.each(["Zm9v+w", "Zm9v/w", "Zm8=", "Zm 9v", "é", "A"])("does not take %j", (text) => {
    expect(() => bytesOf(text)).toThrow();
  });
});

describe("options", () => {
  it("of a sign-in have their bytes, and all the rest as it was", () => {
    const made = requestOptions({
      challenge: "AQID",
      rpId: "whale.example",
      timeout: 300_000,
      userVerification: "required",
      allowCredentials: [{ id: "BAU", type: "public-key", transports: ["usb", "nfc"] }],
    });
    expect(list(made.challenge)).toEqual([1, 2, 3]);
    expect(made).toMatchObject({ rpId: "whale.example", timeout: 300_000, userVerification: "required" });
    expect(made.allowCredentials?.map(({ id, ...rest }) => ({ id: list(id), ...rest }))).toEqual([
      { id: [4, 5], type: "public-key", transports: ["usb", "nfc"] },
    ]);
  });

  it("of a sign-in that name no passkey leave the choice to the browser", () => {
    expect(requestOptions({ challenge: "AQID" }).allowCredentials).toEqual([]);
  });

  it("of a new passkey have theirs", () => {
    const made = creationOptions({
      challenge: "AQID",
      rp: { name: "Cachalot", id: "whale.example" },
      user: { id: "_w", name: "ahab", displayName: "Ahab" },
      pubKeyCredParams: [{ type: "public-key", alg: -7 }],
      excludeCredentials: [{ id: "BAU", type: "public-key" }],
      authenticatorSelection: { residentKey: "required", userVerification: "required" },
    });
    expect(list(made.challenge)).toEqual([1, 2, 3]);
    expect(list(made.user.id)).toEqual([255]);
    expect(made.user).toMatchObject({ name: "ahab", displayName: "Ahab" });
    expect(made.rp).toEqual({ name: "Cachalot", id: "whale.example" });
    expect(made.excludeCredentials?.map(({ id, ...rest }) => ({ id: list(id), ...rest }))).toEqual([
      { id: [4, 5], type: "public-key" },
    ]);
    expect(made.authenticatorSelection).toEqual({ residentKey: "required", userVerification: "required" });
  });
});

const held = (response: object, more: object = {}): PublicKeyCredential =>
  ({
    id: "AQ",
    rawId: bytes(1),
    type: "public-key",
    authenticatorAttachment: null,
    getClientExtensionResults: () => ({}),
    response,
    ...more,
  }) as unknown as PublicKeyCredential;

const assertion = {
  clientDataJSON: bytes(2),
  authenticatorData: bytes(3),
  signature: bytes(4),
  userHandle: bytes(5),
};

describe("answers", () => {
  it("of a sign-in", () => {
    expect(assertionJson(held(assertion, { authenticatorAttachment: "platform" }))).toEqual({
      id: "AQ",
      rawId: "AQ",
      type: "public-key",
      authenticatorAttachment: "platform",
      clientExtensionResults: {},
      response: { clientDataJSON: "Ag", authenticatorData: "Aw", signature: "BA", userHandle: "BQ" },
    });
    expect(assertionJson(held({ ...assertion, userHandle: null })).response).not.toHaveProperty("userHandle");
  });

  it("of a new passkey, also from browsers that don't tell how it is reached", () => {
    const response = { clientDataJSON: bytes(2), attestationObject: bytes(3) };
    expect(attestationJson(held(response))).toEqual({
      id: "AQ",
      rawId: "AQ",
      type: "public-key",
      clientExtensionResults: {},
      response: { clientDataJSON: "Ag", attestationObject: "Aw", transports: [] },
    });
    const told = attestationJson(held({ ...response, getTransports: () => ["internal"] }));
    expect(told.response.transports).toEqual(["internal"]);
  });
});

describe("the browser", () => {
  const browser = (own: object, credential: PublicKeyCredential | null) => {
    const get = vi.fn(async (_options: CredentialRequestOptions) => credential);
    const create = vi.fn(async (_options: CredentialCreationOptions) => credential);
    vi.stubGlobal(
      "PublicKeyCredential",
      Object.assign(() => {}, own),
    );
    vi.stubGlobal("navigator", { credentials: { get, create } });
    return { get, create };
  };
  const signal = new AbortController().signal;

  it("translates by itself where it can", async () => {
    const parsed = { challenge: bytes(9) };
    const json = { id: "its own" };
    const { get } = browser(
      { parseRequestOptionsFromJSON: () => parsed },
      held(assertion, { toJSON: () => json }),
    );
    await expect(askPasskey({ challenge: "AQID" }, signal, "conditional")).resolves.toBe(json);
    expect(get).toHaveBeenCalledWith({ publicKey: parsed, mediation: "conditional", signal });
  });

  it("is helped where it can't", async () => {
    const { get } = browser({}, held(assertion));
    await expect(askPasskey({ challenge: "AQID" }, signal, "optional")).resolves.toMatchObject({
      rawId: "AQ",
    });
    const { publicKey } = get.mock.calls[0]?.[0] ?? {};
    expect(list(publicKey?.challenge ?? bytes())).toEqual([1, 2, 3]);
  });

  it("may come back with nothing, which counts as having been stopped", async () => {
    browser({}, null);
    await expect(askPasskey({ challenge: "" }, signal, "optional")).rejects.toMatchObject({
      name: "NotAllowedError",
    });
    const user = { id: "AQ", name: "a", displayName: "a" };
    const options = { challenge: "", rp: { name: "" }, user, pubKeyCredParams: [] };
    await expect(makePasskey(options)).rejects.toMatchObject({ name: "NotAllowedError" });
  });

  it.each([
    [{}, true, false],
    [{ isConditionalMediationAvailable: async () => false }, true, false],
    [{ isConditionalMediationAvailable: async () => true }, true, true],
    [{ isConditionalMediationAvailable: async () => true }, false, false],
  ])(
    "offers by autofill only where it says so, and on a page that came safely",
    async (own, safe, offered) => {
      browser(own, null);
      vi.stubGlobal("isSecureContext", safe);
      await expect(canOfferByAutofill()).resolves.toBe(offered);
    },
  );
});
