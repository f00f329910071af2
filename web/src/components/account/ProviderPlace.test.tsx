import { cleanup, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { gate, type Waiting } from "../../api/gate";
import { startLanguages } from "../../i18n";
import { useSession } from "../../state/session";
import { session } from "../../testing";
import { OtherWays } from "./OtherWays";
import { SignUpPage } from "./SignUpPage";

const providers = [{ id: "harbour", name: "Harbour Office" }];
const waiting = (more: Partial<Waiting> = {}): Waiting => ({
  place: "p2",
  ahead: 3,
  called_up: false,
  about_seconds: 90,
  ask_again_seconds: 30,
  ...more,
});

beforeAll(startLanguages);
beforeEach(() => {
  localStorage.clear();
  vi.spyOn(gate, "status").mockRejectedValue(new Error("not of this test"));
  window.history.replaceState(null, "", "/sign-up?provider=harbour#place=p1");
  useSession.setState({
    ...useSession.getInitialState(),
    ...session({ providers }),
    state: "known",
    page: "sign-up",
  });
});
afterEach(cleanup);

it("keeps the place that the way back from a provider brings, and goes on there when it is called up", async () => {
  const place = vi.spyOn(gate, "place").mockResolvedValue({ waiting: waiting() });
  const { unmount } = render(<SignUpPage />);
  await screen.findByText("3 people are ahead of you.");
  expect(place.mock.calls[0]?.[0]).toBe("p1");
  expect(window.location.hash).toBe("");
  expect(screen.queryByLabelText("Password")).toBeNull();
  unmount();

  place.mockResolvedValue({ waiting: waiting({ place: "p3", called_up: true, until_seconds: 60 }) });
  render(<SignUpPage />);
  const link = await screen.findByRole("link", { name: "Continue with Harbour Office" });
  expect(link.getAttribute("href")).toBe("/oidc/harbour/start?next=%2F&place=p3");
  cleanup();
  // Whoever comes by the login's page keeps their place too.
  render(<OtherWays />);
  const login = screen.getByRole("link", { name: "Continue with Harbour Office" });
  expect(login.getAttribute("href")).toBe("/oidc/harbour/start?next=%2F&place=p3");
});

it("leads to the login where there is no place", async () => {
  window.history.replaceState(null, "", "/sign-up?provider=harbour");
  render(<SignUpPage />);
  await waitFor(() => expect(window.location.pathname).toBe("/login"));
});
