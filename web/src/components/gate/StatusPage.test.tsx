import { act, cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { type GateStatus, gate } from "../../api/gate";
import { startLanguages } from "../../i18n";
import { useGate } from "../../state/gate";
import { user } from "../../testing";
import { StatusPage } from "./StatusPage";

beforeAll(startLanguages);
beforeEach(() => useGate.setState(useGate.getInitialState()));
afterEach(() => {
  cleanup();
  vi.useRealTimers();
});

const status = (more: Partial<GateStatus["registration"]> = {}): GateStatus => ({
  registration: {
    level: "open",
    pinned: false,
    since_ms: 0,
    reopens_in_seconds: 0,
    offered: true,
    waiting: 0,
    accounts_per_minute: 60,
    reasons: [],
    ...more,
  },
  incident: null,
  moves: [],
});

it("tells existing users first that nothing changes for them, and new ones how it stands", async () => {
  vi.spyOn(gate, "status").mockResolvedValue(
    status({
      level: "suspended",
      reopens_in_seconds: 240,
      waiting: 1,
      reasons: [{ reason: "failed_challenges", measured: 0.61, threshold: 0.3 }],
    }),
  );
  render(<StatusPage user={null} />);
  await screen.findByText("paused");
  const headings = screen.getAllByRole("heading", { level: 2 }).map(({ textContent }) => textContent);
  expect(headings).toEqual(["Existing users", "New accounts", "What has changed"]);
  expect(screen.getByText("If it stays calm, everybody is let in again in about 4 minutes.")).toBeTruthy();
  expect(screen.getByText("1 person")).toBeTruthy();
  expect(screen.getByText("61%, limit 30%")).toBeTruthy();
  expect(screen.getByRole("link", { name: "Sign in" })).toBeTruthy();
});

it("asks again by itself, and says aloud when the level has changed", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true });
  const asked = vi.spyOn(gate, "status").mockResolvedValue(status({ level: "waiting_list" }));
  render(<StatusPage user={user("ada")} />);
  await screen.findByText("by waiting list");
  const said = () => screen.getAllByRole("status").map(({ textContent }) => textContent);
  expect(said()).not.toContain("New accounts are now: by waiting list.");
  asked.mockResolvedValue(status());
  await act(() => vi.advanceTimersByTimeAsync(10_000));
  await screen.findByText("open");
  expect(said()).toContain("New accounts are now: open.");
  expect(screen.getByRole("link", { name: "Back to the chats" })).toBeTruthy();
});

it("says that what it shows is old when the server is gone", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true });
  const asked = vi.spyOn(gate, "status").mockResolvedValue(status());
  render(<StatusPage user={null} />);
  await screen.findByText("open");
  asked.mockRejectedValue(new Error("gone"));
  await act(() => vi.advanceTimersByTimeAsync(10_000));
  await screen.findByText(/This is what it said at/);
  expect(screen.getByText("open")).toBeTruthy();
});

it("promises nothing where strangers get no account", async () => {
  vi.spyOn(gate, "status").mockResolvedValue(status({ offered: false, level: "suspended" }));
  render(<StatusPage user={null} />);
  await screen.findByText(/takes no new accounts from strangers/);
  expect(screen.queryByText("paused")).toBeNull();
});
