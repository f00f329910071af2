import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { ApiError } from "../../api/client";
import type { Password } from "../../api/security";
import { startLanguages } from "../../i18n";
import { user } from "../../testing";
import { IdentityDialog } from "./IdentityDialog";

beforeAll(startLanguages);
afterEach(cleanup);

function open(password: boolean, act: (password: Password) => Promise<void>) {
  const security = { password, totp: false, recovery_codes_left: 0, passkeys: [], providers: [] };
  render(
    <IdentityDialog
      standing={{ user: user("ada"), security }}
      trigger={<button type="button">Open</button>}
      title="Really?"
      text="It matters."
      submit="Do it"
      act={act}
    />,
  );
  fireEvent.click(screen.getByText("Open"));
}

const field = () => screen.queryByLabelText("Your password, to confirm");
const enter = (text: string) => fireEvent.change(field() as HTMLElement, { target: { value: text } });
const submit = () => fireEvent.click(screen.getByText("Do it"));
const refuse = (status: number, code: string) => async () => {
  throw new ApiError(status, "no", { code });
};

it("gives the password that was asked for, and closes when the thing is done", async () => {
  const act = vi.fn(async () => {});
  open(true, act);
  submit();
  expect(screen.getByText("Enter your password.")).toBeTruthy();
  expect(act).not.toHaveBeenCalled();
  enter("deep");
  submit();
  await waitFor(() => expect(screen.queryByRole("dialog")).toBeNull());
  expect(act.mock.calls[0]?.slice(0, 1)).toEqual(["deep"]);
});

it("says at the field that the password is wrong, and stays", async () => {
  open(true, refuse(401, "wrong_password"));
  enter("shallow");
  submit();
  await waitFor(() => expect(screen.getByText("This isn't your password.")).toBeTruthy());
  expect(field()?.getAttribute("aria-invalid")).toBe("true");
});

it("asks nobody for a password who has none, but may have them sign in again", async () => {
  const act = vi.fn(refuse(403, "sign_in_again"));
  open(false, act);
  expect(field()).toBeNull();
  submit();
  await waitFor(() => expect(screen.getByText("Sign in again")).toBeTruthy());
  expect(act.mock.calls[0]?.slice(0, 1)).toEqual([undefined]);
  expect(screen.getByRole("alert").textContent).toContain("within the last ten minutes");
});
