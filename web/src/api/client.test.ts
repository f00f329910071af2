import { afterEach, describe, expect, it, vi } from "vitest";
import { api, cutOff, onReached, onSignedOut, retryAfterOf } from "./client";
import { security } from "./security";

afterEach(() => {
  vi.unstubAllGlobals();
  onReached(() => {});
  onSignedOut(() => {});
});

function respond(response: () => Response) {
  const fetched = vi.fn(async (_path: string, _init: RequestInit) => response());
  vi.stubGlobal("fetch", fetched);
  return fetched;
}

describe("api", () => {
  it("takes the server's words for a refusal", async () => {
    const body = {
      error: { message: "content is longer than 100 bytes", code: "too_long", type: "x", param: null },
    };
    respond(() => Response.json(body, { status: 413 }));
    await expect(api.models()).rejects.toMatchObject({
      status: 413,
      message: "content is longer than 100 bytes",
      code: "too_long",
    });
  });

  it("gets by without them", async () => {
    respond(() => new Response("<html>", { status: 500, statusText: "" }));
    await expect(api.models()).rejects.toMatchObject({ status: 500, message: "HTTP 500", code: null });
  });

  it("tells a server that is gone from one that refuses", async () => {
    const seen: boolean[] = [];
    onReached((reached) => seen.push(reached));
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("Failed to fetch")));
    await expect(api.models()).rejects.toMatchObject({ status: 0 });
    respond(() => new Response("{}", { status: 404 }));
    await expect(api.models()).rejects.toMatchObject({ status: 404 });
    expect(seen).toEqual([false, true]);
  });

  it("writes JSON and names it so, even without a body", async () => {
    const fetched = respond(() => new Response(null, { status: 204 }));
    await api.deleteConversation("a/b");
    expect(fetched).toHaveBeenCalledWith(
      "/api/conversations/a%2Fb",
      expect.objectContaining({
        method: "DELETE",
        headers: { "content-type": "application/json" },
        body: "{}",
      }),
    );
  });

  it("asks for letters in the language of the page", async () => {
    document.documentElement.lang = "fr";
    const fetched = respond(() => Response.json({ mailed: true }, { status: 202 }));
    await security.askReset("a@b");
    expect(fetched.mock.calls[0]?.[1].headers).toEqual({
      "content-type": "application/json",
      "accept-language": "fr",
    });
  });

  it("asks for the page after a cursor", async () => {
    const fetched = respond(() => Response.json({ conversations: [], next: null }));
    await api.conversations("a&b", 20);
    expect(fetched.mock.calls[0]?.[0]).toBe("/api/conversations?limit=20&before=a%26b");
  });

  it("hears of a session that has ended, and of no other 401", async () => {
    let heard = 0;
    onSignedOut(() => {
      heard += 1;
    });
    const refuse = (code: string) => Response.json({ error: { message: "", code } }, { status: 401 });
    respond(() => refuse("wrong_login"));
    await expect(security.login("a", "b")).rejects.toMatchObject({ code: "wrong_login" });
    expect(heard).toBe(0);
    respond(() => refuse("not_signed_in"));
    await expect(api.models()).rejects.toMatchObject({ code: "not_signed_in" });
    expect(heard).toBe(1);
  });

  it("takes the field at fault and the wait", async () => {
    const body = { error: { message: "", code: "invalid_parameter", param: "name" } };
    respond(() => Response.json(body, { status: 422, headers: { "retry-after": "3" } }));
    await expect(api.models()).rejects.toMatchObject({ param: "name", retryAfter_s: 3 });
  });

  it("never settles what was cut off", async () => {
    let settled = false;
    respond(() => Response.json({ models: [], default: null }));
    void api.models().finally(() => {
      settled = true;
    });
    cutOff();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(settled).toBe(false);
    await expect(api.models()).resolves.toEqual({ models: [], default: null });
  });
});

it.each([
  [null, null],
  ["", null],
  ["7", 7],
  ["0", 0],
  ["-3", 0],
  ["1.2", 2],
  ["soon", null],
  ["Thu, 01 Jan 1970 00:01:00 GMT", 50],
  ["Thu, 01 Jan 1970 00:00:05 GMT", 0],
])("Retry-After %j is %s seconds", (text, seconds) => expect(retryAfterOf(text, 10_000)).toBe(seconds));
