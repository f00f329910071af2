import { cleanup, fireEvent, render, screen, waitFor, within } from "@testing-library/react";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import type { Account } from "../../api/admin";
import { type Balance, programs } from "../../api/programs";
import { needTexts, startLanguages } from "../../i18n";
import { user } from "../../testing";
import { UserBalance } from "./UserBalance";

beforeAll(async () => {
  await startLanguages();
  await Promise.all([needTexts("admin"), needTexts("programs")]);
});
afterEach(cleanup);

const account: Account = {
  ...user("grace"),
  disabled_ms: null,
  groups: [],
  totp: false,
  passkeys: 0,
  links: 0,
  ways_in: ["password"],
  seen_ms: null,
};

const balance = (more: Partial<Balance> = {}): Balance => ({
  currency: "USD",
  granted: "5",
  topped_up: "0",
  held: "0",
  available: "5",
  free: false,
  credits: [],
  ...more,
});

it("takes back what was topped up, once that is confirmed", async () => {
  vi.spyOn(programs, "userBalance").mockResolvedValue(balance({ topped_up: "20", available: "25" }));
  const add = vi.spyOn(programs, "addCredit").mockResolvedValue(balance({ available: "17.5" }));
  render(<UserBalance account={account} administers />);
  await screen.findByText("$25.00");
  fireEvent.click(screen.getByRole("button", { name: "Continue", hidden: true }));
  expect(screen.getByText("Enter an amount above zero, such as 12.50.")).toBeTruthy();
  expect(add).not.toHaveBeenCalled();

  fireEvent.click(screen.getByLabelText("Take back from what was topped up"));
  fireEvent.change(screen.getByLabelText("Amount (USD)"), { target: { value: "7.50" } });
  fireEvent.change(screen.getByLabelText("Note"), { target: { value: "refunded" } });
  fireEvent.click(screen.getByRole("button", { name: "Continue", hidden: true }));
  const question = within(await screen.findByRole("alertdialog"));
  expect(question.getByText("Take $7.50 back from grace?")).toBeTruthy();
  expect(add).not.toHaveBeenCalled();
  fireEvent.click(question.getByRole("button", { name: "Take it back" }));
  await waitFor(() => expect(screen.getByText("$17.50")).toBeTruthy());
  expect(add.mock.calls[0]).toEqual(["grace", { kind: "top_up", amount: "-7.5", note: "refunded" }]);
});

it("lets operators look, and no more", async () => {
  vi.spyOn(programs, "userBalance").mockResolvedValue(balance());
  render(<UserBalance account={account} administers={false} />);
  await screen.findByText("Available");
  expect(screen.queryByText("Change the balance")).toBeNull();
});

it("says that nobody needs a balance where nothing costs anything", async () => {
  vi.spyOn(programs, "userBalance").mockResolvedValue(balance({ free: true, granted: "0", available: "0" }));
  render(<UserBalance account={account} administers={false} />);
  await screen.findByText("Nothing costs anything here, so nobody needs a balance.");
  expect(screen.queryByText("Available")).toBeNull();
});
