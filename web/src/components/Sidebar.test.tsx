import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, expect, it, vi } from "vitest";
import { startLanguages } from "../i18n";
import { useStore } from "../state/store";
import { conversation } from "../testing";
import { Sidebar } from "./Sidebar";

beforeAll(startLanguages);
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

it("does not ask again by itself for a page that failed", async () => {
  let asked = 0;
  vi.stubGlobal("fetch", async () => {
    asked += 1;
    await new Promise((resolve) => setTimeout(resolve, 5));
    return new Response("{}", { status: 500 });
  });
  useStore.setState({ list: [conversation("a", 1)], listNext: "1", listState: "ready" });
  render(<Sidebar onChosen={() => {}} onClose={() => {}} />);
  fireEvent.change(screen.getByRole("searchbox"), { target: { value: "b" } });
  await waitFor(() => expect(screen.getByText("The chats could not be loaded.")).toBeTruthy());
  await new Promise((resolve) => setTimeout(resolve, 100));
  expect(asked).toBe(1);
  fireEvent.click(screen.getByRole("button", { name: "Show more" }));
  await waitFor(() => expect(asked).toBe(2));
});
