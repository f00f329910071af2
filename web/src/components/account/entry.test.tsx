import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { startLanguages } from "../../i18n";
import { settle, useSession } from "../../state/session";
import { session, user } from "../../testing";
import { LoginPage } from "./LoginPage";
import { ResetPage } from "./ResetPage";
import { SignUpPage } from "./SignUpPage";
import { VerifyPage } from "./VerifyPage";

const asked: [string, unknown][] = [];
let shown: (string | undefined)[] = [];
let answers: Record<string, () => Response> = {};

beforeAll(startLanguages);
beforeEach(() => {
  asked.length = 0;
  shown = [];
  answers = {};
  vi.stubGlobal("fetch", async (path: string, init: RequestInit) => {
    asked.push([path, JSON.parse(String(init.body))]);
    shown.push((init.headers as Record<string, string>)["x-cachalot-challenge"]);
    const answer = answers[path];
    if (answer === undefined) throw new TypeError(`nothing is prepared for ${path}`);
    return answer();
  });
  window.history.replaceState(null, "", "/login");
  know({});
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const know = (more: Parameters<typeof session>[0]) =>
  useSession.setState({ ...useSession.getInitialState(), ...session(more), state: "known", page: "login" });
const refuse = (status: number, code: string) => () =>
  Response.json({ error: { message: code, code, type: "x", param: null } }, { status });
const enter = (label: string, text: string) =>
  fireEvent.change(screen.getByLabelText(label, { exact: true }), { target: { value: text } });
const press = (name: string) => fireEvent.click(screen.getByRole("button", { name }));

describe("the login", () => {
  const signIn = () => {
    render(<LoginPage />);
    enter("Name or email address", "ada");
    enter("Password", "deep");
    press("Sign in");
  };

  it("asks for a code where one is set up, and takes a recovery code instead", async () => {
    answers = {
      "/api/login": () => Response.json({ second_factor: { ticket: "t", expires_s: 300 } }),
      "/api/login/second": refuse(401, "wrong_code"),
    };
    signIn();
    await screen.findByText("One more step");
    const code = screen.getByLabelText("6-digit code");
    expect(code.getAttribute("autocomplete")).toBe("one-time-code");
    expect(code.getAttribute("inputmode")).toBe("numeric");
    enter("6-digit code", "123 456");
    press("Sign in");
    await screen.findByText("This code is wrong, or has been used already.");
    expect(asked.at(-1)).toEqual(["/api/login/second", { ticket: "t", code: "123456" }]);
    press("Use a recovery code");
    enter("Recovery code", "k7wq-2b4d");
    press("Sign in");
    await waitFor(() =>
      expect(asked.at(-1)).toEqual(["/api/login/second", { ticket: "t", code: "k7wq-2b4d" }]),
    );
  });

  it("asks again while nobody answers, and shows what it has solved before its body", async () => {
    const challenge = {
      parameters: { algorithm: "a", keyPrefix: "0", nonce: "00", salt: "00" },
      signature: "5e",
    };
    const replies = [
      () => Promise.reject(new TypeError("Failed to fetch")),
      () =>
        Response.json({ error: { message: "m", code: "challenge_required" }, challenge }, { status: 428 }),
      refuse(401, "wrong_login"),
    ];
    answers = { "/api/login": () => (replies.shift() ?? refuse(500, "internal"))() as Response };
    class Solver extends EventTarget {
      postMessage() {
        this.dispatchEvent(new MessageEvent("message", { data: { counter: 7 } }));
      }
      terminate() {}
    }
    vi.stubGlobal("Worker", Solver);
    signIn();
    await screen.findByText("The name or the password is wrong.", undefined, { timeout: 10_000 });
    const solution = btoa(JSON.stringify({ challenge, solution: { counter: 7 } }));
    expect(shown).toEqual([undefined, undefined, solution]);
    expect(asked.at(-1)).toEqual(["/api/login", { login: "ada", password: "deep", challenge: solution }]);
  });

  it("goes back to the password when the code comes too late", async () => {
    answers = {
      "/api/login": () => Response.json({ second_factor: { ticket: "t", expires_s: 300 } }),
      "/api/login/second": refuse(401, "ticket_expired"),
    };
    signIn();
    await screen.findByText("One more step");
    enter("6-digit code", "123456");
    press("Sign in");
    await screen.findByText("Too much time has passed. Enter your password again.");
    expect(screen.getByLabelText("Password")).toBeTruthy();
  });

  it("offers only the ways that the server has", () => {
    render(<LoginPage />);
    expect(screen.queryByText("or")).toBeNull();
    expect(screen.queryByText("Forgot your password?")).toBeNull();
    cleanup();
    window.history.replaceState(null, "", "/login?next=%2Fc%2Fx");
    know({ mail: true, providers: [{ id: "harbour", name: "Harbour Office" }] });
    render(<LoginPage />);
    const link = screen.getByRole("link", { name: "Continue with Harbour Office" });
    expect(link.getAttribute("href")).toBe("/oidc/harbour/start?next=%2Fc%2Fx");
    expect(screen.getByText("Forgot your password?")).toBeTruthy();
  });

  it("tells what went wrong at a provider in its own words, never in the address's, and once", () => {
    for (const [error, words] of [
      ["oidc_denied", "cancelled or refused"],
      ["Call%200900%201234", "did not work"],
    ]) {
      window.history.replaceState(null, "", `/login?next=%2Faccount&error=${error}`);
      settle();
      render(<LoginPage />);
      expect(screen.getByRole("alert").textContent).toContain(words);
      expect(window.location.search).toBe("?next=%2Faccount");
      cleanup();
    }
  });
});

describe("the sign-up", () => {
  it("asks for no address where no letters are sent", async () => {
    render(<SignUpPage />);
    expect(screen.queryByLabelText("Email address")).toBeNull();
    answers = { "/api/sign-up": refuse(409, "name_taken") };
    enter("Name", "ada");
    enter("Password", "whales sing deep");
    press("Create account");
    await screen.findByText("This name is taken. Choose another one.");
    expect(asked).toEqual([["/api/sign-up", { name: "ada", password: "whales sing deep" }]]);
  });

  it("waits for a letter where they are, and may write to another address", async () => {
    know({ mail: true });
    answers = { "/api/sign-up": () => Response.json({ mailed: true }, { status: 202 }) };
    render(<SignUpPage />);
    enter("Name", "ada");
    enter("Password", "whales sing deep");
    press("Create account");
    await screen.findByText("Enter your email address.");
    expect(asked).toEqual([]);
    enter("Email address", " ada@example.org ");
    press("Create account");
    await screen.findByText("Check your email");
    expect(asked[0]?.[1]).toEqual({ name: "ada", password: "whales sing deep", email: "ada@example.org" });
    expect(screen.getByText(/on its way to ada@example\.org/)).toBeTruthy();
    press("Use another address");
    expect(screen.getByLabelText("Email address")).toBeTruthy();
  });
});

describe("the link of a letter", () => {
  it("does nothing until one presses, and nothing more once it is spent", async () => {
    window.history.replaceState(null, "", "/verify#abc");
    answers = { "/api/verify": refuse(400, "ticket_invalid") };
    render(<VerifyPage />);
    expect(asked).toEqual([]);
    press("Confirm");
    await screen.findByText("This link isn't valid, or has been used already.");
    expect(asked).toEqual([["/api/verify", { ticket: "abc" }]]);
    expect(screen.queryByRole("button", { name: "Confirm" })).toBeNull();
  });

  it("is answered once more when one's place is called up", async () => {
    window.history.replaceState(null, "", "/verify#abc");
    let called_up = false;
    const waiting = () => ({
      place: "p1",
      ahead: 2,
      called_up,
      about_seconds: 5,
      ask_again_seconds: 1,
    });
    answers = {
      "/api/verify": () => Response.json({ waiting: waiting() }, { status: 202 }),
      "/api/places": () => Response.json({ waiting: waiting() }),
    };
    render(<VerifyPage />);
    press("Confirm");
    await screen.findByText("2 people are ahead of you.");
    called_up = true;
    answers["/api/verify"] = () => Response.json(session({ user: user("ada") }), { status: 201 });
    await waitFor(() => expect(useSession.getState().user?.id).toBe("ada"), { timeout: 5000 });
    expect(asked.at(-1)).toEqual(["/api/verify", { ticket: "abc", place: "p1" }]);
  });

  it("does nothing by itself with a place that was there before", async () => {
    localStorage.setItem("cachalot.place.letter", "p1");
    window.history.replaceState(null, "", "/verify#of-a-stranger");
    const waiting = { place: "p1", ahead: 0, called_up: true, about_seconds: 0, ask_again_seconds: 9 };
    answers = { "/api/places": () => Response.json({ waiting }) };
    render(<VerifyPage />);
    await screen.findByText(/Press the button, and your account is created/);
    expect(asked.map(([path]) => path)).toEqual(["/api/places"]);
    localStorage.removeItem("cachalot.place.letter");
  });

  it("without its ticket has nothing to press", () => {
    window.history.replaceState(null, "", "/verify");
    render(<VerifyPage />);
    expect(screen.getByText(/This link is incomplete/)).toBeTruthy();
    expect(screen.queryByRole("button", { name: "Confirm" })).toBeNull();
  });

  it("that is too old to set a password leads to another letter", async () => {
    know({ mail: true });
    window.history.replaceState(null, "", "/reset#abc");
    answers = {
      "/api/reset/confirm": refuse(400, "ticket_expired"),
      "/api/reset": () => Response.json({ mailed: true }, { status: 202 }),
    };
    render(<ResetPage />);
    enter("New password", "whales sing deep");
    press("Set the password");
    await screen.findByText("Too much time has passed. Begin again.");
    press("Ask for a new email");
    enter("Email address", "ada@example.org");
    press("Send the email");
    await screen.findByText(/If an account has the address ada@example\.org/);
  });

  it("is not asked for where no letters are sent", () => {
    window.history.replaceState(null, "", "/reset");
    render(<ResetPage />);
    expect(screen.getByText(/This server sends no emails/)).toBeTruthy();
    expect(screen.queryByLabelText("Email address")).toBeNull();
  });
});
