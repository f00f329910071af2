import { cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { type Gate, keeper } from "../../api/gate";
import { needTexts, startLanguages } from "../../i18n";
import { useSession } from "../../state/session";
import { session, user } from "../../testing";
import { GatePart } from "./GatePart";

beforeAll(async () => {
  await startLanguages();
  await needTexts("admin");
});
beforeEach(() =>
  useSession.setState({
    ...useSession.getInitialState(),
    ...session({ user: user("ada", { role: "admin" }) }),
    state: "known",
  }),
);
afterEach(cleanup);

const gate = (more: Partial<Gate> = {}): Gate => ({
  registration: {
    level: "waiting_list",
    pinned: false,
    since_ms: 0,
    reopens_in_seconds: 90,
    offered: true,
    waiting: 12,
    accounts_per_minute: 60,
    reasons: [{ reason: "demand", measured: 3.2, threshold: 1 }],
  },
  incident: null,
  moves: [
    {
      at_ms: 0,
      from: "open",
      to: "waiting_list",
      reasons: [
        { reason: "prefix_concentration", measured: 0.84, threshold: 0.5 },
        // Of a server that knows more.
        { reason: "tides_of_may" as "calm", measured: 4, threshold: 2 },
      ],
    },
  ],
  pin: null,
  signals: {
    at_ms: 0,
    attempted: 41,
    completed: 7,
    challenges_passed: 22,
    challenges_failed: 9,
    prefix_concentration: 0.64,
    asn_concentration: null,
    logins_passed: 12,
    logins_failed: 3,
    queue_delay_ms: 35,
    established_answered: 148,
    established_refused: 0,
    cost_per_account: 0,
    demand: 3.2,
    forecast_per_minute: 7.5,
  },
  accounts_made: 7,
  ...more,
});

it("shows how the gate stands, what it goes by and how it came there", async () => {
  vi.spyOn(keeper, "stand").mockResolvedValue(gate());
  render(<GatePart administers />);
  const now = within(await screen.findByRole("region", { name: "Now" }));
  expect(now.getByText("by waiting list")).toBeTruthy();
  expect(now.getByText("7 of 60")).toBeTruthy();
  expect(now.getByText("12 people")).toBeTruthy();
  expect(now.getByText("3.2×, limit 1×")).toBeTruthy();
  const signals = within(screen.getByRole("region", { name: "What it goes by" }));
  expect(signals.getByText("64%")).toBeTruthy();
  expect(signals.getByText("35 ms")).toBeTruthy();
  expect(signals.queryByText("Share of the busiest providers")).toBeNull();
  const moves = within(screen.getByRole("region", { name: "Moves" }));
  expect(moves.getByText("From “open” to “by waiting list”")).toBeTruthy();
  expect(moves.getByText("84%, limit 50%")).toBeTruthy();
  expect(moves.getByText("Another reason (tides of may)")).toBeTruthy();
  expect(screen.queryByRole("button", { name: "Let it run" })).toBeNull();
});

it("holds a level once that is confirmed, and lets it run again", async () => {
  vi.spyOn(keeper, "stand").mockResolvedValue(gate());
  const pin = vi.spyOn(keeper, "pin").mockResolvedValueOnce(gate({ pin: "suspended" }));
  render(<GatePart administers />);
  fireEvent.click(await screen.findByLabelText("paused"));
  // Nobody could show an address to be theirs.
  expect(screen.queryByLabelText("open, with a confirmed email address")).toBeNull();
  fireEvent.change(screen.getByLabelText("Reason"), { target: { value: " moving house " } });
  fireEvent.click(screen.getByRole("button", { name: "Hold this level", hidden: true }));
  const question = within(await screen.findByRole("alertdialog"));
  expect(question.getByText("Hold new accounts at “paused”?")).toBeTruthy();
  expect(question.getByText(/Nobody gets an account until you let it run/)).toBeTruthy();
  expect(pin).not.toHaveBeenCalled();
  fireEvent.click(question.getByRole("button", { name: "Hold it" }));
  await screen.findByText("New accounts are held at “paused”.");
  expect(pin.mock.calls).toEqual([["suspended", "moving house"]]);
  pin.mockResolvedValueOnce(gate());
  // Once the question is gone from the page.
  fireEvent.click(await screen.findByRole("button", { name: "Let it run" }));
  await screen.findByText("The gate moves by itself again.");
  expect(pin.mock.calls.at(-1)).toEqual([null, ""]);
});

it("takes no reason that is too long for the log", async () => {
  vi.spyOn(keeper, "stand").mockResolvedValue(gate());
  const pin = vi.spyOn(keeper, "pin");
  render(<GatePart administers />);
  fireEvent.change(await screen.findByLabelText("Reason"), { target: { value: "鲸".repeat(201) } });
  fireEvent.click(screen.getByRole("button", { name: "Hold this level", hidden: true }));
  expect(screen.queryByRole("alertdialog")).toBeNull();
  expect(screen.getByText("At most 200 characters.")).toBeTruthy();
  expect(pin).not.toHaveBeenCalled();
});

it("makes invitations whose links lead to the sign-up of this server", async () => {
  vi.spyOn(keeper, "stand").mockResolvedValue(gate());
  const invite = vi.spyOn(keeper, "invite").mockResolvedValue({ invitations: ["a.b", "c-d"] });
  render(<GatePart administers />);
  const section = within(await screen.findByRole("region", { name: "Invitations" }));
  for (const [label, text] of [
    ["How many", "101"],
    ["How many", "0"],
    ["How many", "x"],
    ["Good for how many days", "91"],
  ] as const) {
    fireEvent.change(section.getByLabelText("How many"), { target: { value: "2" } });
    fireEvent.change(section.getByLabelText(label), { target: { value: text } });
    fireEvent.click(section.getByRole("button", { name: "Make invitations" }));
    expect(section.getByText(/Enter a whole number from 1 to/)).toBeTruthy();
  }
  expect(invite).not.toHaveBeenCalled();
  fireEvent.change(section.getByLabelText("Good for how many days"), { target: { value: "30" } });
  fireEvent.click(section.getByRole("button", { name: "Make invitations" }));
  await waitFor(() => expect(section.getByText("2 invitations are made.")).toBeTruthy());
  expect(invite.mock.calls).toEqual([[2, 30]]);
  const links = section.getAllByText(/#invitation=/).map(({ textContent }) => textContent);
  expect(links).toEqual(
    ["a.b", "c-d"].map((ticket) => `${window.location.origin}/sign-up#invitation=${ticket}`),
  );
});

it("leaves invitations to administrators", async () => {
  vi.spyOn(keeper, "stand").mockResolvedValue(gate());
  render(<GatePart administers={false} />);
  await screen.findByRole("region", { name: "Hold a level" });
  expect(screen.queryByRole("region", { name: "Invitations" })).toBeNull();
});
