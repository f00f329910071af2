import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { session as sessionOf, user } from "../testing";
import { Trouble } from "./account";
import { addPasskey, browserTrouble, offerPasskeys, passkeyNameProblem, signInByPasskey } from "./passkey";
import { useSession } from "./session";

const credential = { id: "AQ", toJSON: () => ({ id: "AQ" }) };
const asked: string[] = [];

type Wanted = { mediation?: string; signal: AbortSignal };
type Get = (options: Wanted) => Promise<unknown>;

/** A browser that answers by `get`, and a server that answers by `login`. */
function world(get: Get, login: () => Response = () => Response.json(sessionOf({ user: user("ada") }))) {
  vi.stubGlobal("isSecureContext", true);
  vi.stubGlobal(
    "PublicKeyCredential",
    Object.assign(() => {}, { isConditionalMediationAvailable: async () => true }),
  );
  vi.stubGlobal("navigator", { credentials: { get, create: get } });
  vi.stubGlobal("fetch", async (path: string) => {
    asked.push(path);
    if (path.endsWith("/options")) {
      const options = { challenge: "AQID", timeout: 1000, user: { id: "AQ" } };
      return Response.json({ ticket: `ticket ${asked.length}`, options });
    }
    if (path === "/api/login/passkey") return login();
    return Response.json({ models: [], default: null, conversations: [], next: null });
  });
}

/** As a browser does that nobody answers. */
const unanswered: Get = ({ signal }) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

const refuse = (code: string) => () =>
  Response.json({ error: { message: "", code, type: "x", param: null } }, { status: 401 });

beforeEach(() => {
  asked.length = 0;
  useSession.setState({ ...useSession.getInitialState(), state: "known" });
});
afterEach(() => {
  vi.unstubAllGlobals();
});

it.each([
  ["Phone", null],
  ["  🐋  ", null],
  ["x".repeat(64), null],
  ["x".repeat(65), "passkeyName"],
  ["  ", "passkeyName"],
  ["a\u0007", "passkeyName"],
])("the name %j: %s", (name, problem) => expect(passkeyNameProblem(name)).toBe(problem));

describe("what the browser says", () => {
  it.each([
    ["NotAllowedError", "passkeyCancelled"],
    ["AbortError", "passkeyCancelled"],
    ["InvalidStateError", "passkeyKnown"],
    ["SecurityError", "passkeyHost"],
    ["NotSupportedError", "passkeyUnsupported"],
  ])("%s is told as %s", (name, problem) => {
    const told = browserTrouble(new DOMException("", name));
    expect(told).toBeInstanceOf(Trouble);
    expect(told).toMatchObject({ problem });
  });

  it("stays as it is where we have no words for it", () => {
    const error = new TypeError("odd");
    expect(browserTrouble(error)).toBe(error);
  });
});

describe("the button", () => {
  const { signal } = new AbortController();

  it("signs in", async () => {
    world(async () => credential);
    await signInByPasskey(signal);
    expect(useSession.getState().user?.id).toBe("ada");
  });

  it("tells what stopped it", async () => {
    world(() => Promise.reject(new DOMException("", "NotAllowedError")));
    await expect(signInByPasskey(signal)).rejects.toMatchObject({ problem: "passkeyCancelled" });
    world(async () => credential, refuse("wrong_passkey"));
    await expect(signInByPasskey(signal)).rejects.toMatchObject({ code: "wrong_passkey" });
    expect(useSession.getState().user).toBeNull();
  });
});

describe("the offer at the name's field", () => {
  it("signs in whoever takes it", async () => {
    const stop = new AbortController();
    const wanted: (string | undefined)[] = [];
    world(async ({ mediation }) => {
      wanted.push(mediation);
      stop.abort();
      return credential;
    });
    await offerPasskeys(stop.signal, () => {});
    expect(wanted).toEqual(["conditional"]);
    expect(useSession.getState().user?.id).toBe("ada");
  });

  it("is renewed before it is too old, and ends when the page is left", async () => {
    const ages: AbortController[] = [];
    const real = AbortSignal.timeout;
    const timeout = vi.spyOn(AbortSignal, "timeout").mockImplementation((wait_ms) => {
      // A request's own.
      if (wait_ms > 1000) return real.call(AbortSignal, wait_ms);
      const age = new AbortController();
      ages.push(age);
      return age.signal;
    });
    world(unanswered);
    const stop = new AbortController();
    const offering = offerPasskeys(stop.signal, () => {});
    await vi.waitFor(() => expect(ages).toHaveLength(1));
    expect(asked).toHaveLength(1);
    expect(timeout).toHaveBeenLastCalledWith(800);
    ages[0]?.abort(new DOMException("", "TimeoutError"));
    await vi.waitFor(() => expect(ages).toHaveLength(2));
    expect(asked).toHaveLength(2);
    stop.abort();
    await offering;
    expect(asked).toHaveLength(2);
  });

  it("says that a chosen passkey was refused, and offers again", async () => {
    const stop = new AbortController();
    let chosen = 0;
    world((options) => {
      chosen += 1;
      return chosen === 1 ? Promise.resolve(credential) : unanswered(options);
    }, refuse("wrong_passkey"));
    const told: string[] = [];
    const offering = offerPasskeys(stop.signal, ({ problem }) => told.push(problem));
    await vi.waitFor(() => expect(chosen).toBe(2));
    expect(told).toEqual(["wrongPasskey"]);
    stop.abort();
    await offering;
  });

  it("does not go on for ever with a browser that chooses by itself", async () => {
    world(async () => credential, refuse("wrong_passkey"));
    const told: string[] = [];
    await offerPasskeys(new AbortController().signal, ({ problem }) => told.push(problem));
    expect(told).toHaveLength(5);
  });

  it("says nothing where it can't be made", async () => {
    const told: string[] = [];
    world(() => Promise.reject(new DOMException("", "SecurityError")));
    await offerPasskeys(new AbortController().signal, ({ problem }) => told.push(problem));
    vi.stubGlobal("fetch", async () => refuse("too_many_attempts")());
    await offerPasskeys(new AbortController().signal, ({ problem }) => told.push(problem));
    expect(told).toEqual([]);
  });
});

it("a device that has a passkey already says so when another is made", async () => {
  world(() => Promise.reject(new DOMException("", "InvalidStateError")));
  await expect(addPasskey("Phone", undefined)).rejects.toMatchObject({ problem: "passkeyKnown" });
  expect(asked).toEqual(["/api/account/passkeys/options"]);
});
