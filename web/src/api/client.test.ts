import { afterEach, describe, expect, it, vi } from "vitest";
import { api, onReached } from "./client";

afterEach(() => {
  vi.unstubAllGlobals();
  onReached(() => {});
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

  it("asks for the page after a cursor", async () => {
    const fetched = respond(() => Response.json({ conversations: [], next: null }));
    await api.conversations("a&b", 20);
    expect(fetched.mock.calls[0]?.[0]).toBe("/api/conversations?limit=20&before=a%26b");
  });
});
