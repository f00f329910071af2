import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ConversationPage, Model } from "../api/types";
import { answer, conversation, message } from "../testing";
import { newOpen } from "./conversation";
import * as store from "./store";

const { useStore } = store;

interface Call {
  method: string;
  path: string;
  body: unknown;
}

type Answers = Record<string, (call: Call) => unknown>;

/** A server that answers by method and path; a number is a status without a body. Everything else is an error. */
function serve(answers: Answers): Call[] {
  const calls: Call[] = [];
  vi.stubGlobal("fetch", async (path: string, init: RequestInit = {}) => {
    const call = {
      method: init.method ?? "GET",
      path,
      body: init.body ? JSON.parse(String(init.body)) : null,
    };
    calls.push(call);
    const found = answers[`${call.method} ${path.split("?")[0]}`];
    if (found === undefined) throw new TypeError(`nothing is prepared for ${call.method} ${path}`);
    const body = found(call);
    if (body instanceof Response) return body;
    return typeof body === "number" ? new Response(null, { status: body }) : Response.json(body);
  });
  return calls;
}

const emptyPage: ConversationPage = { conversations: [], next: null };
const model = (name: string, thinking: Model["thinking"] = "none", installed = true): Model => ({
  name,
  title: name,
  installed,
  loaded: false,
  context: 2048,
  thinking,
  parameters: 1,
  bytes: 1,
});

/** A stream that says at once that the answer is complete. */
const stream = (id: string) => () =>
  new Response(`event: done\ndata: ${JSON.stringify(answer(id, "q", { content: "Hello." }))}\n\n`);

const initial = useStore.getInitialState();

beforeEach(() => {
  localStorage.clear();
  sessionStorage.clear();
  useStore.setState({
    ...initial,
    models: [model("small"), model("thinker", "switchable")],
    defaultModel: "small",
  });
});
afterEach(() => vi.unstubAllGlobals());

const working: Answers = {
  "GET /api/conversations": () => emptyPage,
  "POST /api/conversations": ({ body }) => conversation("c", 1, body as { model: string }),
  "PATCH /api/conversations/c": () => conversation("c", 1, { system: "Be brief." }),
  "POST /api/conversations/c/messages": () => ({
    user: message("q", null),
    assistant: answer("a", "q", { status: "generating", content: "" }),
  }),
  "GET /api/conversations/c/messages/a/stream": stream("a"),
};

describe("the first message of a chat", () => {
  it("makes the conversation, with its system prompt, and follows the answer", async () => {
    const calls = serve(working);
    await store.saveSystem("Be brief.");
    expect(await store.send("Hi")).toBe(true);
    await vi.waitFor(
      () => expect(useStore.getState().open.messages.byId["a"]?.status).toBe("complete"),
      60_000,
    );
    expect(calls.filter(({ method }) => method !== "GET")).toEqual([
      { method: "POST", path: "/api/conversations", body: { model: "small" } },
      { method: "PATCH", path: "/api/conversations/c", body: { system: "Be brief." } },
      {
        method: "POST",
        path: "/api/conversations/c/messages",
        body: { content: "Hi", parent_id: null, model: "small" },
      },
    ]);
    expect(window.location.pathname).toBe("/c/c");
    expect(useStore.getState().open.conversation?.system).toBe("Be brief.");
  });

  it("leaves no empty conversation behind when it is refused", async () => {
    const calls = serve({
      ...working,
      "POST /api/conversations/c/messages": () => 503,
      "DELETE /api/conversations/c": () => 204,
    });
    expect(await store.send("Hi")).toBe(false);
    const { open } = useStore.getState();
    expect(open).toMatchObject({ id: null, pending: null, failure: { kind: "busy" } });
    expect(calls.at(-1)).toMatchObject({ method: "DELETE", path: "/api/conversations/c" });
  });

  it("says that the server is gone", async () => {
    serve({});
    expect(await store.send("Hi")).toBe(false);
    expect(useStore.getState().open.failure?.kind).toBe("unreachable");
  });
});

describe("the choice of a model", () => {
  it("falls back from what isn't installed", () => {
    const choose = (newModel: string | null, models: Model[]) => {
      useStore.setState({ newModel, models });
      return store.currentModel(useStore.getState())?.name ?? null;
    };
    expect(choose("thinker", [model("small"), model("thinker")])).toBe("thinker");
    expect(choose("gone", [model("other"), model("small")])).toBe("small");
    expect(choose("big", [model("other"), model("big", "none", false)])).toBe("other");
    expect(choose(null, [model("big", "none", false)])).toBeNull();
  });

  it("sends the thinking switch only where there is one", async () => {
    const calls = serve(working);
    const bodies = () => calls.filter(({ path }) => path.endsWith("/messages")).map(({ body }) => body);
    store.chooseThinking(false);
    await store.send("Hi");
    expect(bodies()[0]).not.toHaveProperty("thinking");
    useStore.setState({ open: newOpen, newModel: "thinker" });
    await store.send("Hi");
    expect(bodies()[1]).toMatchObject({ model: "thinker", thinking: false });
  });
});

describe("an edited question", () => {
  it("is a sibling of the old one, and comes back to the editor when refused", async () => {
    serve(working);
    await store.send("Hi");
    const calls = serve({ "POST /api/conversations/c/messages": () => 503 });
    store.startEditing("q");
    expect(useStore.getState().open.editing).toEqual({ id: "q", text: "q" });
    await store.edit("q", "Better");
    expect(calls[0]?.body).toMatchObject({ content: "Better", parent_id: null });
    expect(useStore.getState().open.editing).toEqual({ id: "q", text: "Better" });
  });
});

describe("the list", () => {
  const page = (ids: [string, number][], next: string | null): ConversationPage => ({
    conversations: ids.map(([id, at]) => conversation(id, at)),
    next,
  });
  const shown = () => useStore.getState().list.map(({ id }) => id);

  it("grows page by page, and forgets what another page has deleted", async () => {
    const pages = [
      page(
        [
          ["d", 4],
          ["c", 3],
        ],
        "3",
      ),
      page(
        [
          ["b", 2],
          ["a", 1],
        ],
        null,
      ),
      page(
        [
          ["d", 4],
          ["b", 2],
        ],
        "2",
      ),
    ];
    const calls = serve({ "GET /api/conversations": () => pages.shift() });
    await store.loadList();
    expect(shown()).toEqual(["d", "c"]);
    await store.loadMore();
    expect(shown()).toEqual(["d", "c", "b", "a"]);
    expect(calls[1]?.path).toContain("before=3");
    await store.loadMore();
    expect(calls).toHaveLength(2);
    await store.loadList();
    expect(shown()).toEqual(["d", "b", "a"]);
  });

  it("takes a new name back when the server refuses it", async () => {
    useStore.setState({ list: [conversation("c", 1, { title: "old" })] });
    serve({ "PATCH /api/conversations/c": () => 500 });
    const renaming = store.rename("c", "new");
    expect(useStore.getState().list[0]?.title).toBe("new");
    await renaming;
    expect(useStore.getState().list[0]?.title).toBe("old");
    expect(useStore.getState().notice?.text).toBe("renameFailed");
  });

  it("drops what the server deletes, also when it was gone already, and keeps it otherwise", async () => {
    useStore.setState({ list: ["a", "b", "c"].map((id, at) => conversation(id, at)) });
    serve({
      "DELETE /api/conversations/a": () => 204,
      "DELETE /api/conversations/b": () => 404,
      "DELETE /api/conversations/c": () => 500,
    });
    expect(await Promise.all(["a", "b", "c"].map(store.remove))).toEqual([true, true, false]);
    expect(shown()).toEqual(["c"]);
  });
});

describe("stopping", () => {
  it("doesn't put an older text over the last event's", async () => {
    serve(working);
    await store.send("Hi");
    await vi.waitFor(
      () => expect(useStore.getState().open.messages.byId["a"]?.status).toBe("complete"),
      60_000,
    );
    serve({
      "POST /api/conversations/c/messages/a/stop": () =>
        answer("a", "q", { status: "stopped", content: "Hel" }),
    });
    await store.stop("a");
    expect(useStore.getState().open.messages.byId["a"]?.content).toBe("Hello.");
  });
});
