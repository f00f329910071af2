import { cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "../../api/client";
import { programs, type UsageRow, type UsageSum, type Whose } from "../../api/programs";
import { needTexts, startLanguages } from "../../i18n";
import { UsageView } from "./UsageView";

beforeAll(async () => {
  await startLanguages();
  await Promise.all([needTexts("admin"), needTexts("programs")]);
});
afterEach(cleanup);

const own: Whose = { scope: "own", key: "k1" };

const sum = (model: string, cost: string): UsageSum => ({
  from_ms: Date.now(),
  model,
  requests: 2,
  hit_tokens: 1000,
  miss_tokens: 200,
  output_tokens: 34,
  reasoning_tokens: 4,
  cost,
});

const row: UsageRow = {
  id: "r1",
  at_ms: Date.now(),
  user_id: "u",
  key_id: "k1",
  endpoint: "/v1/chat/completions",
  model: "small",
  class: "default",
  hit_tokens: 1000,
  miss_tokens: 200,
  output_tokens: 34,
  reasoning_tokens: 4,
  cost: "0.000000214",
  queued_ms: 0,
  ttft_ms: 250,
  total_ms: 900,
  outcome: "complete",
};

function show({ free = false, sums = [sum("small", "0.1"), sum("large", "0.2")] } = {}) {
  const asked = vi
    .spyOn(programs, "sums")
    .mockResolvedValue({ sums, since_ms: 0, until_ms: 1, currency: "USD" });
  const rows = vi.spyOn(programs, "usage").mockResolvedValue({ rows: [row], next: null, currency: "USD" });
  render(
    <UsageView whose={own} currency="USD" free={free} who={{ head: "Key", of: ({ key_id }) => key_id }} />,
  );
  return { asked, rows };
}

beforeEach(() => vi.useRealTimers());

it("says the same in bars and in a table, and adds amounts exactly", async () => {
  show();
  await waitFor(() => expect(screen.getByText("4 requests · 2,468 tokens · $0.30")).toBeTruthy());
  const tokens = within(screen.getByRole("group", { name: "Tokens", hidden: true }));
  expect(tokens.getAllByRole("cell", { hidden: true }).map((cell) => cell.textContent)).toEqual([
    "2,000",
    "400",
    "68",
    "2,468",
  ]);
  const costs = within(screen.getByRole("group", { name: "Cost", hidden: true }));
  expect(costs.getAllByRole("cell", { hidden: true }).map((cell) => cell.textContent)).toEqual([
    "$0.20",
    "$0.10",
    "$0.30",
  ]);
  expect(document.querySelectorAll("svg.chart-bars")).toHaveLength(2);
  const heights = [...document.querySelectorAll("svg.chart-bars rect")].map((bar) =>
    bar.getAttribute("height"),
  );
  // Of 5000 tokens, and of 0.5 of the currency.
  expect(heights).toEqual(["40.000%", "8.000%", "1.360%", "40.000%", "20.000%"]);
});

it("shows each request with what it took", async () => {
  const { rows } = show();
  const table = within(await screen.findByRole("group", { name: "Newest requests" }));
  const cells = table.getAllByRole("cell").map((cell) => cell.textContent);
  expect(cells.slice(0, 5)).toEqual([
    "k1",
    "small/v1/chat/completions",
    "1,2001,000 cached",
    "344 reasoning",
    "$0.000000214",
  ]);
  expect(cells[5]).toContain("complete");
  expect(rows.mock.calls[0]?.slice(0, 3)).toEqual([own, null, 25]);
  const file = screen.getByRole("link", { name: "Download as CSV" }).getAttribute("href");
  expect(file).toMatch(/^\/api\/usage\.csv\?since=\d+&key=k1$/);
});

it("speaks of no costs where there are none", async () => {
  show({ free: true });
  await screen.findByText("4 requests · 2,468 tokens");
  await screen.findByRole("group", { name: "Newest requests" });
  expect(screen.queryAllByText("Cost")).toEqual([]);
  expect(document.body.textContent).not.toContain("$");
});

it("asks for another time, by hours for today", async () => {
  const { asked } = show();
  await screen.findByText(/^4 requests/);
  expect(asked.mock.calls[0]?.[1]).toMatchObject({ by: "day", count: 30 });
  fireEvent.click(screen.getByLabelText("Today"));
  await waitFor(() => expect(asked).toHaveBeenCalledTimes(2));
  expect(asked.mock.calls[1]?.[1]).toMatchObject({ by: "hour", count: 24 });
});

it("says that there was nothing, and what went wrong", async () => {
  show({ sums: [] });
  await screen.findByText("Nothing was asked for in this time.");
  cleanup();
  vi.spyOn(programs, "sums").mockRejectedValue(new ApiError(503, "busy"));
  render(<UsageView whose={own} currency="USD" free who={{ head: "Key", of: () => "" }} />);
  await waitFor(() => expect(screen.getByRole("alert").textContent).toContain("busy"));
});
