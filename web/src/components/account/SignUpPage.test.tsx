import { act, cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { GateStatus, Level, Waiting } from "../../api/gate";
import * as proofs from "../../api/proof";
import { startLanguages } from "../../i18n";
import { useGate } from "../../state/gate";
import { useSession } from "../../state/session";
import { session, user } from "../../testing";
import { LoginPage } from "./LoginPage";
import { SignUpPage } from "./SignUpPage";

type Body = Record<string, unknown>;
const asked: [string, Body][] = [];
/** What is answered to a path, one after another; the last one stays. */
let answers: Record<string, (() => Response)[]> = {};
let status: GateStatus;

const challenge = {
  parameters: {
    algorithm: "PBKDF2/SHA-256",
    cost: 1,
    keyLength: 32,
    keyPrefix: "0",
    nonce: "00".repeat(16),
    salt: "00".repeat(16),
  },
  signature: "ab",
};

const statusOf = (level: Level, more: Partial<GateStatus["registration"]> = {}): GateStatus => ({
  registration: {
    level,
    pinned: false,
    since_ms: 0,
    reopens_in_seconds: 75,
    offered: true,
    waiting: 4,
    accounts_per_minute: 60,
    reasons: [{ reason: "demand", measured: 3, threshold: 1 }],
    ...more,
  },
  incident: null,
  moves: [],
});

beforeAll(startLanguages);
beforeEach(() => {
  asked.length = 0;
  answers = {};
  status = statusOf("open");
  localStorage.clear();
  sessionStorage.clear();
  useGate.setState(useGate.getInitialState());
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    if (path === "/status") return Response.json(status);
    asked.push([`${init.method} ${path}`, init.body === undefined ? {} : JSON.parse(String(init.body))]);
    const prepared = answers[`${init.method} ${path}`] ?? [];
    const answer = prepared.length > 1 ? prepared.shift() : prepared[0];
    if (answer === undefined) throw new TypeError(`nothing is prepared for ${init.method} ${path}`);
    return answer();
  });
  window.history.replaceState(null, "", "/sign-up");
  useSession.setState({ ...useSession.getInitialState(), ...session(), state: "known", page: "sign-up" });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

const refuse =
  (code: number, name: string, more: Body = {}, headers: Record<string, string> = {}) =>
  () =>
    Response.json(
      { error: { message: name, code: name, type: "x", param: null }, ...more },
      { status: code, headers },
    );
const waiting =
  (more: Partial<Waiting> = {}, code = 202) =>
  () =>
    Response.json(
      {
        waiting: {
          place: "p1",
          ahead: 3,
          called_up: false,
          about_seconds: 90,
          ask_again_seconds: 2,
          ...more,
        },
      },
      { status: code },
    );
const made = () => Response.json(session({ user: user("ada") }), { status: 201 });
const field = (label: string) => screen.getByLabelText<HTMLInputElement>(label, { exact: true });
const enter = (label: string, text: string) => {
  fireEvent.input(field(label), { target: { value: text } });
};
const press = (name: string) => fireEvent.click(screen.getByRole("button", { name }));
const signsUp = () => asked.filter(([path]) => path === "POST /api/sign-up").map(([, body]) => body);
const account = { name: "ada", password: "whales sing deep" };

function fill(button = "Create account"): void {
  enter("Name", account.name);
  enter("Password", account.password);
  press(button);
}

describe("the challenge", () => {
  it("is solved, and the form is sent again by itself", async () => {
    const solve = vi.spyOn(proofs, "solve").mockResolvedValue("solution");
    answers = { "POST /api/sign-up": [refuse(428, "challenge_required", { challenge }), made] };
    render(<SignUpPage />);
    fill();
    await waitFor(() => expect(useSession.getState().user?.name).toBe("ada"));
    expect(solve.mock.calls[0]?.[0]).toEqual(challenge);
    expect(signsUp()).toEqual([account, { ...account, challenge: "solution" }]);
  });

  it("may come before a login, and the password is sent again with what solves it", async () => {
    vi.spyOn(proofs, "solve").mockResolvedValue("solution");
    answers = { "POST /api/login": [refuse(428, "challenge_required", { challenge }), made] };
    useSession.setState({ page: "login" });
    render(<LoginPage />);
    enter("Name or email address", "ada");
    enter("Password", account.password);
    press("Sign in");
    await waitFor(() => expect(useSession.getState().user?.name).toBe("ada"));
    const login = { login: "ada", password: account.password };
    const logins = asked.filter(([path]) => path === "POST /api/login").map(([, body]) => body);
    expect(logins).toEqual([login, { ...login, challenge: "solution" }]);
  });

  it("that came too late is followed by another, and not for ever", async () => {
    vi.spyOn(proofs, "solve").mockResolvedValue("late");
    answers = { "POST /api/sign-up": [refuse(428, "challenge_failed", { challenge })] };
    render(<SignUpPage />);
    fill();
    await screen.findByText(/The check did not work/);
    expect(signsUp()).toHaveLength(4);
    expect(field("Password").value).toBe(account.password);
  });

  it("shows how far it is, can be cancelled, and loses nothing by it", async () => {
    let tell: (progress: number) => void = () => {};
    vi.spyOn(proofs, "solve").mockImplementation(
      (_, signal, onProgress) =>
        new Promise((_resolve, reject) => {
          tell = onProgress;
          signal.addEventListener("abort", () => reject(signal.reason));
        }),
    );
    answers = { "POST /api/sign-up": [refuse(428, "challenge_required", { challenge })] };
    render(<SignUpPage />);
    fill();
    const bar = await screen.findByRole<HTMLProgressElement>("progressbar");
    expect(bar.value).toBe(0);
    act(() => tell(0.4));
    expect(bar.value).toBe(0.4);
    press("Cancel");
    await screen.findByText(/The check was cancelled/);
    expect(screen.queryByRole("progressbar")).toBeNull();
    expect(screen.queryByRole("alert")).toBeNull();
    expect([field("Name").value, field("Password").value]).toEqual([account.name, account.password]);
    expect(signsUp()).toHaveLength(1);
  });
});

describe("the place in line", () => {
  it("is asked after at the server's pace, and the form is sent by itself when it is called up", async () => {
    vi.useFakeTimers({ shouldAdvanceTime: true });
    answers = {
      "POST /api/sign-up": [waiting(), made],
      "POST /api/places": [
        waiting({ place: "p2", ahead: 1 }, 200),
        waiting({ place: "p3", called_up: true, until_seconds: 60 }, 200),
      ],
    };
    render(<SignUpPage />);
    fill();
    await screen.findByText("3 people are ahead of you.");
    expect(localStorage.getItem("cachalot.place.form")).toBe("p1");
    expect(asked.map(([path]) => path)).toEqual(["POST /api/sign-up"]);
    await act(() => vi.advanceTimersByTimeAsync(2000));
    await screen.findByText("1 person is ahead of you.");
    expect(asked.at(-1)).toEqual(["POST /api/places", { place: "p1" }]);
    await act(() => vi.advanceTimersByTimeAsync(2000));
    await waitFor(() => expect(useSession.getState().user?.name).toBe("ada"));
    expect(asked.filter(([path]) => path === "POST /api/places").at(-1)?.[1]).toEqual({ place: "p2" });
    expect(signsUp().at(-1)).toEqual({ ...account, place: "p3" });
    expect(localStorage.getItem("cachalot.place.form")).toBeNull();
  });

  it("that is called up while no accounts are made is tried again until one is", async () => {
    vi.useFakeTimers({ shouldAdvanceTime: true });
    localStorage.setItem("cachalot.place.form", "p1");
    const turn = { called_up: true, until_seconds: 600, ask_again_seconds: 3 };
    answers = {
      "POST /api/places": [waiting({ ...turn, ask_again_seconds: 300 }, 200)],
      "POST /api/sign-up": [waiting(turn), made],
    };
    render(<SignUpPage />);
    await screen.findByText(/Enter your password once more/);
    fill();
    await screen.findByText(/No accounts are made just now/);
    expect(signsUp()).toHaveLength(1);
    await act(() => vi.advanceTimersByTimeAsync(4100));
    await waitFor(() => expect(useSession.getState().user?.name).toBe("ada"));
    expect(signsUp()).toHaveLength(2);
  });

  it("outlives a reload; what was typed is there, and the password is asked for", async () => {
    answers = { "POST /api/sign-up": [waiting()] };
    const { unmount } = render(<SignUpPage />);
    fill();
    await screen.findByText("3 people are ahead of you.");
    unmount();
    expect(JSON.stringify([{ ...localStorage }, { ...sessionStorage }])).not.toContain(account.password);

    answers = {
      "POST /api/places": [waiting({ called_up: true, until_seconds: 60 }, 200)],
      "POST /api/sign-up": [made],
    };
    render(<SignUpPage />);
    await screen.findByText(/Enter your password once more/);
    expect(signsUp()).toHaveLength(1);
    expect(field("Name").value).toBe("ada");
    expect(field("Password").value).toBe("");
    expect(document.activeElement).toBe(field("Password"));
    enter("Password", account.password);
    press("Create account");
    await waitFor(() => expect(useSession.getState().user?.name).toBe("ada"));
    expect(signsUp().at(-1)).toEqual({ ...account, place: "p1" });
  });

  it("that is gone is said to be, and the form comes back as it was", async () => {
    localStorage.setItem("cachalot.place.form", "old");
    answers = { "POST /api/places": [refuse(410, "place_gone")] };
    render(<SignUpPage />);
    await screen.findByText(/Your place has lapsed/);
    expect(localStorage.getItem("cachalot.place.form")).toBeNull();
    expect(screen.getByRole("button", { name: "Create account" })).toBeTruthy();
  });

  it("is not lost with the connection", async () => {
    localStorage.setItem("cachalot.place.form", "p1");
    vi.useFakeTimers({ shouldAdvanceTime: true });
    answers = { "POST /api/places": [refuse(503, "busy"), waiting({}, 200)] };
    render(<SignUpPage />);
    await screen.findByText(/your place is kept\.$/);
    expect(localStorage.getItem("cachalot.place.form")).toBe("p1");
    await act(() => vi.advanceTimersByTimeAsync(15_000));
    await screen.findByText("3 people are ahead of you.");
  });

  it("can be given up", async () => {
    answers = {
      "POST /api/sign-up": [waiting()],
      "DELETE /api/places": [() => new Response(null, { status: 204 })],
    };
    render(<SignUpPage />);
    fill();
    await screen.findByText("3 people are ahead of you.");
    press("Give up my place");
    await waitFor(() => expect(asked.at(-1)).toEqual(["DELETE /api/places", { place: "p1" }]));
    expect(localStorage.getItem("cachalot.place.form")).toBeNull();
    expect(field("Password").value).toBe(account.password);
    expect(document.activeElement).toBe(field("Name"));
  });

  it("tells no time while nobody is called up", async () => {
    status = statusOf("invite_only");
    answers = { "POST /api/sign-up": [waiting({ about_seconds: 3600 })] };
    render(<SignUpPage />);
    await screen.findByRole("button", { name: "Get a place in line" });
    fill("Get a place in line");
    await screen.findByText(/How long it takes can't be said now/);
  });
});

it("tries again by itself where there was no place, but not while one changes what was entered", async () => {
  vi.useFakeTimers({ shouldAdvanceTime: true });
  const full = refuse(503, "no_place", {}, { "retry-after": "3" });
  answers = { "POST /api/sign-up": [full, full, made] };
  render(<SignUpPage />);
  fill();
  await screen.findByText(/There is no room in line right now/);
  // The button's own countdown is over before the form is sent.
  await act(() => vi.advanceTimersByTimeAsync(3600));
  expect(signsUp()).toHaveLength(1);
  await act(() => vi.advanceTimersByTimeAsync(600));
  await waitFor(() => expect(signsUp()).toHaveLength(2));
  enter("Name", "ada2");
  await act(() => vi.advanceTimersByTimeAsync(8000));
  expect(signsUp()).toHaveLength(2);
});

it("asks for an address where one is wanted after all", async () => {
  answers = { "POST /api/sign-up": [refuse(422, "email_required")] };
  render(<SignUpPage />);
  expect(screen.queryByLabelText("Email address")).toBeNull();
  fill();
  await screen.findByLabelText("Email address");
});

describe("an invitation", () => {
  const invited = () => window.history.replaceState(null, "", "/sign-up?next=%2Fkeys#invitation=abc.d-e_f");

  it("is taken out of the address, outlives a reload, and is sent along", async () => {
    invited();
    answers = { "POST /api/sign-up": [made] };
    const { unmount } = render(<SignUpPage />);
    expect(window.location.hash).toBe("");
    expect(window.location.search).toBe("?next=%2Fkeys");
    unmount();
    render(<SignUpPage />);
    expect(screen.getByText(/You were invited/)).toBeTruthy();
    fill();
    await waitFor(() => expect(signsUp()).toEqual([{ ...account, invitation: "abc.d-e_f" }]));
    await waitFor(() => expect(sessionStorage.getItem("cachalot.newcomer.invitation")).toBeNull());
  });

  it("that is good for nothing is told, and one can go on without", async () => {
    invited();
    answers = { "POST /api/sign-up": [refuse(410, "invitation_gone"), made] };
    render(<SignUpPage />);
    fill();
    await screen.findByText(/This invitation was used already/);
    expect(screen.queryByText(/You were invited/)).toBeNull();
    press("Create account");
    await waitFor(() => expect(signsUp().at(-1)).toEqual(account));
  });
});

describe("the banner", () => {
  it("isn't there while all is well, nor where strangers get no account anyway", async () => {
    render(<SignUpPage />);
    await waitFor(() => expect(useGate.getState().status).not.toBeNull());
    expect(screen.queryByRole("region")).toBeNull();
    cleanup();
    status = statusOf("suspended", { offered: false });
    render(<LoginPage />);
    await waitFor(() => expect(useGate.getState().status?.registration.offered).toBe(false));
    expect(screen.queryByRole("region")).toBeNull();
  });

  it("tells who has an account that nothing changes for them, first on the login", async () => {
    status = statusOf("suspended", {
      reasons: [{ reason: "prefix_concentration", measured: 1, threshold: 0.5 }],
    });
    render(<LoginPage />);
    const banner = await screen.findByRole("region", { name: "New accounts" });
    await waitFor(() => expect(banner.textContent).toMatch(/^You have an account\? Sign in as usual\./));
    expect(banner.textContent).toContain("A flood of automated requests is being turned away.");
    expect(banner.textContent).toContain("in about 75 seconds");
    expect(screen.getByRole("button", { name: "Sign in" })).toBeTruthy();
  });

  it("calls a crowd no attack, and an operator's decision one", async () => {
    status = statusOf("waiting_list");
    render(<SignUpPage />);
    const banner = await screen.findByRole("region", { name: "New accounts" });
    await waitFor(() => expect(banner.textContent).toContain("More people are asking for an account"));
    expect(banner.textContent).not.toContain("flood");
    cleanup();
    status = statusOf("suspended", {
      pinned: true,
      reopens_in_seconds: null,
      reasons: [{ reason: "pinned" }],
    });
    render(<SignUpPage />);
    await screen.findByText(/Whoever runs this server has decided so/);
    expect(screen.getByText(/When it changes is decided by whoever runs this server/)).toBeTruthy();
  });
});
