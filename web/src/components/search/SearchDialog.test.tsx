import { cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { afterEach, beforeAll, beforeEach, expect, it, vi } from "vitest";
import { startLanguages } from "../../i18n";
import { useStore } from "../../state/store";
import { answer, conversation, message } from "../../testing";
import { SearchDialog } from "./SearchDialog";

const result = {
  conversation_id: "far",
  title: "Deep water",
  message_id: "old",
  role: "assistant",
  created_ms: 1,
  snippet: "the whale sings",
  marks: [[4, 5]],
};

let asked: string[] = [];

/** A server that finds one message, and has the conversation that it is in; its list of conversations is broken. */
function serve(): void {
  asked = [];
  vi.stubGlobal("fetch", async (path: string) => {
    asked.push(path);
    if (path.startsWith("/api/search"))
      return Response.json({ results: path.includes("whale") ? [result] : [], scanned: 9, more: false });
    if (path === "/api/conversations/far") {
      const messages = [message("q", null), answer("old", "q"), answer("new", "q")];
      return Response.json({ conversation: conversation("far", 1), messages });
    }
    return new Response("{}", { status: 500 });
  });
}

beforeAll(startLanguages);
beforeEach(() => {
  serve();
  useStore.setState(useStore.getInitialState());
});
afterEach(() => {
  cleanup();
  vi.unstubAllGlobals();
});

const open = () => {
  const seen = { closed: 0, chosen: 0 };
  render(
    <SearchDialog
      open
      onClose={() => {
        seen.closed += 1;
      }}
      onChosen={() => {
        seen.chosen += 1;
      }}
    />,
  );
  return seen;
};
const field = () => screen.getByRole("combobox");
const type = (text: string) => fireEvent.change(field(), { target: { value: text } });
const press = (key: string) => fireEvent.keyDown(field(), { key });
const chosen = () => screen.getAllByRole("option", { selected: true }).map((option) => option.textContent);

it("shows the last chats first, and those whose titles have all the words", () => {
  useStore.setState({
    list: [conversation("Blue WHALES at night", 2), conversation("Bread", 1)],
    listState: "ready",
  });
  open();
  expect(screen.getAllByRole("option")).toHaveLength(2);
  type("night whale");
  expect(screen.getAllByRole("option").map((option) => option.textContent)).toEqual(["Blue WHALES at night"]);
});

it("goes through chats and messages by keys, and opens the message on the branch where it is", async () => {
  useStore.setState({ list: [conversation("Whale watching", 2)], listState: "ready" });
  const seen = open();
  type("whale");
  await waitFor(() => expect(screen.getAllByRole("option")).toHaveLength(2));
  expect(document.querySelector("mark")?.textContent).toBe("whale");
  expect(chosen()).toEqual(["Whale watching"]);
  press("ArrowDown");
  expect(chosen()[0]).toContain("the whale sings");
  expect(document.getElementById(field().getAttribute("aria-activedescendant") ?? "")?.textContent).toContain(
    "the whale sings",
  );
  press("ArrowDown");
  expect(chosen()).toEqual(["Whale watching"]);
  press("ArrowUp");
  press("Enter");
  expect(seen).toEqual({ closed: 1, chosen: 1 });
  await waitFor(() => expect(useStore.getState().open.state).toBe("ready"));
  expect(useStore.getState().open).toMatchObject({ id: "far", leaf: "old", wanted: "old" });
});

it("asks once for what is typed in one go, and says when there is nothing", async () => {
  open();
  for (const text of ["n", "no", "nob", "nobody"]) type(text);
  await waitFor(() => expect(screen.getByRole("status").textContent).toBe("Nothing was found."));
  expect(asked.filter((path) => path.startsWith("/api/search"))).toEqual(["/api/search?q=nobody&limit=50"]);
});

it("does not ask again by itself for a page of chats that failed", async () => {
  useStore.setState({ list: [conversation("a", 1)], listNext: "1", listState: "ready" });
  open();
  type("b");
  await waitFor(() => expect(useStore.getState().listState).toBe("moreFailed"));
  await waitFor(() => expect(screen.getByRole("status").textContent).toBe("Nothing was found."));
  expect(asked.filter((path) => path.startsWith("/api/conversations"))).toHaveLength(1);
});
