import { afterEach, expect, it, vi } from "vitest";
import type { Reason } from "../api/gate";
import { askGate, causeOf, isQueued, measuredText, opensIn, unitOf, useGate } from "./gate";

afterEach(() => vi.unstubAllGlobals());

/** Also ones that only a newer server knows. */
const reasons = (...names: string[]) => names.map((reason) => ({ reason }) as Reason);

it.each([
  [[], null],
  [["something_new"], null],
  [["calm"], "calm"],
  [["demand", "above_forecast"], "crowd"],
  [["queue_delay", "demand"], "crowd"],
  [["refusals"], "load"],
  [["demand", "prefix_concentration"], "attack"],
  [["failed_logins"], "attack"],
  [["failed_challenges", "pinned"], "pinned"],
] as const)("%j is told as %s", (names, cause) => {
  expect(causeOf(reasons(...names))).toBe(cause);
});

it("knows at which levels one is given a place in line", () => {
  const queued = (
    ["open", "challenge", "email_first", "waiting_list", "invite_only", "suspended"] as const
  ).map(isQueued);
  expect(queued).toEqual([false, false, false, true, true, true]);
});

it("counts down to the opening, and not beyond", () => {
  expect(opensIn(75, 0)).toBe(75);
  expect(opensIn(75, 10_400)).toBe(65);
  expect(opensIn(75, 100_000)).toBe(0);
  expect(opensIn(null, 10)).toBeNull();
});

it("writes what was measured in its unit", () => {
  const text = (value: number, reason: string) =>
    measuredText(value, unitOf(reason) ?? "count", "en", (number) => `${number} times`);
  expect(text(3.24, "demand")).toBe("3.2 times");
  expect(text(14.6, "demand")).toBe("15 times");
  expect(text(0.837, "prefix_concentration")).toBe("84%");
  expect(text(1840, "queue_delay")).toBe("1,840 ms");
  expect(text(213.7, "above_forecast")).toBe("214");
  expect(text(30.2, "calm")).toBe("30 sec");
  expect(unitOf("pinned")).toBeNull();
  expect(unitOf("something_new")).toBeNull();
});

it("keeps what was said last when the server can't be asked, and says that it is old", async () => {
  const status = { registration: { level: "open" }, incident: null, moves: [] };
  const fetched = vi.fn(async (_path: string, _init: RequestInit) => Response.json(status));
  vi.stubGlobal("fetch", fetched);
  await askGate();
  expect(useGate.getState()).toMatchObject({ status, failed: false });
  expect(fetched.mock.calls[0]?.[0]).toBe("/status");
  // A browser that opens the address asks for the page.
  expect(new Headers(fetched.mock.calls[0]?.[1].headers).get("accept")).toBe("application/json");
  vi.stubGlobal("fetch", async () => {
    throw new TypeError("gone");
  });
  await askGate();
  expect(useGate.getState()).toMatchObject({ status, failed: true });
});
