import { act, cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { startLanguages } from "../i18n";
import { newOpen } from "../state/conversation";
import { startNewChat, useStore } from "../state/store";
import { conversation } from "../testing";
import { Composer } from "./Composer";

const open = { ...newOpen, id: "c", conversation: conversation("c", 1) };
const field = () => screen.getByRole<HTMLTextAreaElement>("textbox");
let refuse = () => {};

beforeAll(startLanguages);
beforeEach(() => {
  sessionStorage.clear();
  const refused = new Promise<Response>((resolve) => {
    refuse = () => resolve(new Response("{}", { status: 503 }));
  });
  vi.stubGlobal("fetch", () => refused);
  const models = [
    {
      name: "small",
      title: "Small",
      installed: true,
      loaded: true,
      context: 1,
      thinking: "none" as const,
      parameters: 1,
      bytes: 1,
    },
  ];
  useStore.setState({ ...useStore.getInitialState(), models, open });
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

function send(text: string) {
  render(<Composer generating={null} />);
  fireEvent.change(field(), { target: { value: text } });
  screen.getByRole("button", { name: "Send message" }).focus();
  fireEvent.click(screen.getByRole("button", { name: "Send message" }));
}

it("sends what was wished for before the models were known, once they are", async () => {
  const { models } = useStore.getState();
  useStore.setState({ models: useStore.getInitialState().models });
  render(<Composer generating={null} />);
  fireEvent.change(field(), { target: { value: "Hi" } });
  fireEvent.keyDown(field(), { key: "Enter" });
  expect(field().value).toBe("Hi");
  act(() => useStore.setState({ models }));
  await waitFor(() => expect(field().value).toBe(""));
});

describe("a message that the server does not take", () => {
  it("is in the field again", async () => {
    send("Hi");
    expect(field().value).toBe("");
    refuse();
    await waitFor(() => expect(field().value).toBe("Hi"));
  });

  it("is not put into another chat, and waits in its own", async () => {
    send("Hi");
    act(startNewChat);
    refuse();
    await waitFor(() => expect(useStore.getState().notice?.text).toBe("sendFailed"));
    expect(field().value).toBe("");
    act(() => useStore.setState({ open }));
    await waitFor(() => expect(field().value).toBe("Hi"));
  });
});

it("has the focus after its button was pressed", () => {
  send("Hi");
  expect(document.activeElement).toBe(field());
});
