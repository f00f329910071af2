import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { ApiError } from "../../api/client";
import { type Key, programs } from "../../api/programs";
import { needTexts, startLanguages } from "../../i18n";
import { KeyDialog } from "./KeyDialog";

beforeAll(async () => {
  await startLanguages();
  await Promise.all([needTexts("admin"), needTexts("programs")]);
});
afterEach(cleanup);

const known: Key = {
  id: "k1",
  name: "robot",
  start: "sk-cachalot-AQ",
  created_ms: 0,
  expires_ms: null,
  used_ms: null,
  spent: "0",
  models: null,
  spend_max: null,
  addresses: [],
  requests_at_once: null,
  requests_per_day: null,
  tokens_per_day: null,
};

const closed = vi.fn();
const saved = vi.fn();

function open(editing: Key | "new") {
  render(
    <KeyDialog
      editing={editing}
      models={["small", "large"]}
      currency="USD"
      onClose={closed}
      onSaved={saved}
    />,
  );
}

const field = (label: string) => screen.getByLabelText(label) as HTMLInputElement;
const fill = (label: string, value: string) => fireEvent.change(field(label), { target: { value } });
const press = (name: string) => fireEvent.click(screen.getByRole("button", { name }));

beforeEach(() => {
  closed.mockClear();
  saved.mockClear();
});

it("makes a key, whose text only its own button puts away", async () => {
  const add = vi.spyOn(programs, "addKey").mockResolvedValue({ key: known, secret: "sk-cachalot-secret" });
  open("new");
  press("Create key");
  expect(screen.getByText("Enter a name of at most 64 characters.")).toBeTruthy();
  expect(document.activeElement).toBe(field("Name"));
  expect(add).not.toHaveBeenCalled();

  fill("Name", " robot ");
  fireEvent.click(screen.getByLabelText("Only these"));
  fireEvent.click(screen.getByLabelText("large"));
  fill("Spend at most, in all (USD)", "12.50");
  fill("Requests at once", "2");
  press("Create key");
  await waitFor(() => expect(screen.getByText("sk-cachalot-secret")).toBeTruthy());
  expect(add.mock.calls[0]?.[0]).toEqual({
    name: "robot",
    expires_ms: null,
    models: ["large"],
    spend_max: "12.5",
    requests_at_once: 2,
    requests_per_day: null,
    tokens_per_day: null,
    addresses: [],
  });
  expect(saved).toHaveBeenCalledOnce();
  fireEvent.keyDown(document.activeElement ?? document.body, { key: "Escape" });
  expect(screen.getByText("sk-cachalot-secret")).toBeTruthy();
  expect(closed).not.toHaveBeenCalled();
  press("I have copied it");
  expect(closed).toHaveBeenCalledOnce();
});

it("points at the field that the server refuses", async () => {
  vi.spyOn(programs, "addKey").mockRejectedValue(
    new ApiError(422, "no such range", { code: "invalid_parameter", param: "addresses" }),
  );
  open("new");
  fill("Name", "robot");
  fill("Only from these addresses", "10.0.0.0/99");
  press("Create key");
  await waitFor(() => expect(field("Only from these addresses").getAttribute("aria-invalid")).toBe("true"));
  expect(document.activeElement).toBe(field("Only from these addresses"));
  expect(screen.getByText(/^Enter addresses or ranges/).closest("details")?.open).toBe(true);
  expect(saved).not.toHaveBeenCalled();
});

it("tells what else went wrong", async () => {
  vi.spyOn(programs, "addKey").mockRejectedValue(new ApiError(0, "unreachable"));
  open("new");
  fill("Name", "robot");
  press("Create key");
  await waitFor(() => expect(screen.getByRole("alert").textContent).toContain("can't be reached"));
});

it("changes a key, and closes", async () => {
  const change = vi.spyOn(programs, "changeKey").mockResolvedValue(known);
  open({ ...known, requests_per_day: 5 });
  expect(field("Requests a day").value).toBe("5");
  fill("Requests a day", "");
  press("Save");
  await waitFor(() => expect(closed).toHaveBeenCalledOnce());
  expect(change.mock.calls[0]).toMatchObject(["k1", { name: "robot", requests_per_day: null }]);
  expect(change.mock.calls[0]?.[1]).not.toHaveProperty("expires_ms");
});
