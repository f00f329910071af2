import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { ConversationPage, Delta, Message, Model } from "../api/types";
import { answer, conversation, message } from "../testing";
import { newOpen } from "./conversation";
import { recallDraft, recallOwn, rememberDraft } from "./storage";
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
    const body = await found(call);
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

/** A stream that the test writes as it goes. */
function written() {
  let out: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      out = controller;
    },
  });
  return {
    response: new Response(body),
    write: (...events: [name: string, data: Message | Delta][]) =>
      out?.enqueue(
        new TextEncoder().encode(
          events.map(([name, data]) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`).join(""),
        ),
      ),
    cut: () => out?.close(),
  };
}

/** An answer that the test gives when it likes. */
function later<T>() {
  let give: (value: T) => void = () => {};
  const promise = new Promise<T>((resolve) => {
    give = resolve;
  });
  return { promise, give };
}

const opened = () => useStore.getState().open;
const pause = (duration_ms: number) => new Promise((resolve) => setTimeout(resolve, duration_ms));

const initial = useStore.getInitialState();

beforeEach(() => {
  store.startNewChat();
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

  it("leaves none behind either when its system prompt is refused", async () => {
    const calls = serve({
      ...working,
      "PATCH /api/conversations/c": () => 503,
      "DELETE /api/conversations/c": () => 204,
    });
    await store.saveSystem("Be brief.");
    expect(await store.send("Hi")).toBe(false);
    expect(opened()).toMatchObject({ id: null, pending: null, failure: { kind: "busy" } });
    expect(calls.at(-1)).toMatchObject({ method: "DELETE", path: "/api/conversations/c" });
    expect(useStore.getState().newSystem).toBe("Be brief.");
  });

  it("goes to the model that it was sent to, whichever chat is opened meanwhile", async () => {
    const made = later<unknown>();
    const calls = serve({
      ...working,
      "POST /api/conversations": () => made.promise,
      "GET /api/conversations/other": () => ({
        conversation: conversation("other", 2, { model: "thinker" }),
        messages: [],
      }),
    });
    const sending = store.send("Hi");
    await store.openConversation("other");
    made.give(conversation("c", 1));
    expect(await sending).toBe(true);
    const sent = calls.find(({ path }) => path.endsWith("/messages"));
    expect(sent?.body).toEqual({ content: "Hi", parent_id: null, model: "small" });
    expect(opened()).toMatchObject({ id: "other", messages: { order: [] } });
  });

  it("leaves another new chat alone that is begun meanwhile", async () => {
    const made = later<unknown>();
    serve({ ...working, "POST /api/conversations": () => made.promise });
    const sending = store.send("Hi");
    store.startNewChat();
    await store.saveSystem("Be long.");
    rememberDraft(null, "Something else");
    made.give(conversation("c", 1));
    expect(await sending).toBe(true);
    expect(opened()).toEqual(newOpen);
    expect(useStore.getState().newSystem).toBe("Be long.");
    expect(recallDraft(null)).toBe("Something else");
    expect(window.location.pathname).toBe("/");
  });

  it("says that the server is gone", async () => {
    serve({});
    expect(await store.send("Hi")).toBe(false);
    expect(useStore.getState().open.failure?.kind).toBe("unreachable");
  });
});

describe("a message that the server does not take", () => {
  const field = () => useStore.getState().draft;
  /** A chat `c` that is open, and another. */
  const chats: Answers = {
    ...working,
    "GET /api/conversations/c": () => ({ conversation: conversation("c", 1), messages: [] }),
    "GET /api/conversations/other": () => ({ conversation: conversation("other", 2), messages: [] }),
  };

  it("is in the field again, above what was written meanwhile", async () => {
    serve({ ...chats, "POST /api/conversations/c/messages": () => 503 });
    await store.openConversation("c");
    await store.send("Hi");
    expect(field()).toEqual({ text: "Hi", serial: 1 });
    expect(recallDraft("c")).toBe("Hi");
    rememberDraft("c", "newer");
    await store.send("older");
    expect(field()).toEqual({ text: "older\n\nnewer", serial: 2 });
    expect(useStore.getState().notice).toBeNull();
  });

  it.each([
    ["another chat", () => store.openConversation("other")],
    ["a new chat", store.startNewChat],
  ])("is kept in its own chat when %s is opened, and that is told", async (_, leave) => {
    const refusal = later<number>();
    serve({ ...chats, "POST /api/conversations/c/messages": () => refusal.promise });
    await store.openConversation("c");
    const sending = store.send("Hi");
    await leave();
    refusal.give(503);
    await sending;
    expect(recallDraft("c")).toBe("Hi");
    expect(field().serial).toBe(0);
    expect(recallDraft(null)).toBe("");
    expect(opened().failure).toBeNull();
    expect(useStore.getState().notice?.text).toBe("sendFailed");
  });

  it("is kept for the next new chat when it was to begin one", async () => {
    const refusal = later<number>();
    serve({
      ...chats,
      "POST /api/conversations/c/messages": () => refusal.promise,
      "DELETE /api/conversations/c": () => 204,
    });
    const sending = store.send("Hi");
    await vi.waitFor(() => expect(opened().id).toBe("c"));
    rememberDraft("c", "meanwhile");
    await store.openConversation("other");
    refusal.give(503);
    await sending;
    expect(recallDraft(null)).toBe("Hi\n\nmeanwhile");
    expect(opened()).toMatchObject({ id: "other", failure: null });
  });

  it("is kept as a draft when it was an edited question", async () => {
    const refusal = later<number>();
    serve({
      ...chats,
      "GET /api/conversations/c": () => ({
        conversation: conversation("c", 1),
        messages: [message("q", null), answer("a", "q")],
      }),
      "POST /api/conversations/c/messages": () => refusal.promise,
    });
    await store.openConversation("c");
    const editing = store.edit("q", "Better");
    await store.openConversation("other");
    refusal.give(503);
    await editing;
    expect(recallDraft("c")).toBe("Better");
    expect(opened().editing).toBeNull();
  });
});

describe("an answer that streams in", () => {
  const running = answer("a", "q", { status: "generating", content: "" });
  const content = (text: string): ["delta", Delta] => ["delta", { part: "content", text }];
  const shown = () => opened().messages.byId["a"];

  it("is whole at every moment, over a cut connection too", async () => {
    const streams = [written(), written()];
    const [first, second] = streams;
    let joined = 0;
    serve({
      ...working,
      "GET /api/conversations/c/messages/a/stream": () => streams[joined++]?.response,
    });
    await store.send("Hi");
    first?.write(["snapshot", { ...running, content: "One" }], content(" two"));
    await vi.waitFor(() => expect(shown()?.content).toBe("One two"));
    // A snapshot holds what still waits to be drawn.
    first?.write(content(" three"), ["snapshot", { ...running, content: "One two three" }]);
    await pause(100);
    expect(shown()?.content).toBe("One two three");
    first?.write(content(" four"));
    first?.cut();
    await vi.waitFor(() => expect(opened().live["a"]?.link).toBe("lost"));
    expect(shown()?.content).toBe("One two three four");
    await vi.waitFor(() => expect(joined).toBe(2), 10_000);
    second?.write(["snapshot", { ...running, content: "One two three four five" }], content(" six"));
    await vi.waitFor(() => expect(shown()?.content).toBe("One two three four five six"));
    expect(shown()?.status).toBe("generating");
    second?.write(content(" seven"), ["done", { ...running, status: "complete", content: "All." }]);
    await pause(100);
    expect(shown()).toMatchObject({ status: "complete", content: "All." });
  });

  it("is drawn less often when its reasoning is long", async () => {
    const stream = written();
    serve({ ...working, "GET /api/conversations/c/messages/a/stream": () => stream.response });
    await store.send("Hi");
    const reasoning = "hm ".repeat(20_000);
    stream.write(["snapshot", { ...running, reasoning }]);
    await vi.waitFor(() => expect(shown()?.reasoning).toBe(reasoning));
    const began = performance.now();
    stream.write(["delta", { part: "reasoning", text: "so" }]);
    await vi.waitFor(() => expect(shown()?.reasoning).toBe(`${reasoning}so`), {
      timeout: 10_000,
      interval: 5,
    });
    expect(performance.now() - began).toBeGreaterThan(150);
  });
});

describe("the followed answers", () => {
  it("are the newest three, and another one when one of them ends", async () => {
    const messages = [
      message("q", null),
      ...["a1", "a2", "a3", "a4"].map((id) => answer(id, "q", { status: "generating" })),
    ];
    const streams = new Map<string, ReturnType<typeof written>>();
    const joining = (id: string) => () => {
      const stream = written();
      streams.set(id, stream);
      return stream.response;
    };
    serve({
      ...working,
      "GET /api/conversations/c": () => ({ conversation: conversation("c", 1), messages }),
      ...Object.fromEntries(
        ["a", "a1", "a2", "a3", "a4"].map((id) => [
          `GET /api/conversations/c/messages/${id}/stream`,
          joining(id),
        ]),
      ),
    });
    await store.openConversation("c");
    await vi.waitFor(() => expect([...streams.keys()]).toEqual(["a2", "a3", "a4"]));
    // A fourth takes the place of the oldest.
    await store.send("Hi");
    await vi.waitFor(() => expect([...streams.keys()]).toEqual(["a2", "a3", "a4", "a"]));
    streams.get("a2")?.write(["snapshot", answer("a2", "q", { status: "generating", content: "unheard" })]);
    streams.get("a")?.write(["done", answer("a", "q", { content: "Hello." })]);
    streams.delete("a2");
    await vi.waitFor(() => expect([...streams.keys()]).toEqual(["a3", "a4", "a", "a2"]));
    expect(opened().messages.byId["a2"]?.content).toBe("a2");
  });
});

describe("reloading the open chat", () => {
  it("does not lose what was sent while the server was read", async () => {
    const asked = later<unknown>();
    const old = { conversation: conversation("c", 1), messages: [] };
    const sent = [message("q", null), answer("a", "q", { content: "Hello." })];
    const trees = [old, asked.promise, { ...old, messages: sent }];
    serve({ ...working, "GET /api/conversations/c": () => trees.shift() });
    await store.openConversation("c");
    const reloading = store.reloadOpen();
    await store.send("Hi");
    asked.give(old);
    await reloading;
    expect(opened().messages.order).toEqual(["q", "a"]);
    expect(trees).toEqual([]);
  });
});

describe("the choice of a model", () => {
  it("is remembered for new chats, told to the server for an open one, and taken back when refused", async () => {
    const calls = serve({
      ...working,
      "GET /api/conversations/c": () => ({
        conversation: conversation("c", 1, { model: "small" }),
        messages: [],
      }),
    });
    const current = () => store.currentModel(useStore.getState())?.name;
    await store.chooseModel("thinker");
    expect(calls).toEqual([]);
    expect(current()).toBe("thinker");
    expect(recallOwn("model")).toBe("thinker");
    await store.openConversation("c");
    expect(current()).toBe("small");
    await store.chooseModel("thinker");
    expect(calls.at(-1)).toEqual({
      method: "PATCH",
      path: "/api/conversations/c",
      body: { model: "thinker" },
    });
    expect(current()).toBe("thinker");
    serve({ "PATCH /api/conversations/c": () => 500 });
    await store.chooseModel("small");
    expect(current()).toBe("thinker");
    expect(useStore.getState().notice?.text).toBe("settingsFailed");
  });

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

  it("stays as it is when a page fails, until it is asked again", async () => {
    const pages = [page([["b", 2]], "2"), 500, page([["a", 1]], null)];
    serve({ "GET /api/conversations": () => pages.shift() });
    await store.loadList();
    await store.loadMore();
    expect(useStore.getState()).toMatchObject({ listState: "moreFailed", listNext: "2" });
    await store.loadMore();
    expect(shown()).toEqual(["b", "a"]);
    expect(useStore.getState().listState).toBe("ready");
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

describe("an answer that was cut", () => {
  const cut = { status: "interrupted", content: "The whale" } as const;
  const chat: Answers = {
    ...working,
    "GET /api/conversations/c": () => ({
      conversation: conversation("c", 1),
      messages: [message("q", null), answer("a", "q", cut)],
    }),
  };

  it("goes on in its place, with the text so far", async () => {
    const { response, write } = written();
    const calls = serve({
      ...chat,
      "POST /api/conversations/c/messages/a/continue": () => ({
        assistant: answer("a", "q", { ...cut, status: "generating" }),
      }),
      "GET /api/conversations/c/messages/a/stream": () => response,
    });
    await store.openConversation("c");
    await store.continueAnswer("a");
    expect(opened().messages.byId["a"]).toMatchObject({ status: "generating", content: "The whale" });
    expect(calls.find(({ method }) => method === "POST")?.body).toEqual({});
    write(
      ["snapshot", answer("a", "q", { ...cut, status: "generating" })],
      ["delta", { part: "content", text: " sings" }],
    );
    await vi.waitFor(() => expect(opened().messages.byId["a"]?.content).toBe("The whale sings"));
    write(["done", answer("a", "q", { content: "The whale sings." })]);
    await vi.waitFor(() => expect(opened().messages.byId["a"]?.status).toBe("complete"));
    expect(opened()).toMatchObject({ leaf: "a", messages: { order: ["q", "a"] } });
  });

  it.each([
    [409, "conflict", "conflict"],
    [429, "messages_per_day", "messages_per_day"],
    [429, "too_many_answers_at_once", "too_many_answers_at_once"],
    [403, "model_not_allowed", "model_not_allowed"],
    [503, "busy", "busy"],
  ])("stays as it is when the server says %i %s", async (status, code, kind) => {
    serve({
      ...chat,
      "POST /api/conversations/c/messages/a/continue": () =>
        Response.json({ error: { code, message: "why" } }, { status, headers: { "retry-after": "60" } }),
    });
    await store.openConversation("c");
    await store.continueAnswer("a");
    expect(opened()).toMatchObject({ failure: { kind, detail: "why", wait_s: 60 }, leaf: "a" });
    expect(opened().messages.byId["a"]).toMatchObject(cut);
  });
});

describe("a message that was looked for", () => {
  const tree = {
    conversation: conversation("c", 1),
    messages: [
      message("q", null),
      answer("old", "q"),
      message("more", "old"),
      answer("end", "more"),
      answer("new", "q"),
    ],
  };
  const found: Answers = { "GET /api/conversations/c": () => tree };

  it("is shown on the branch that it is on", async () => {
    serve(found);
    await store.openMessage("c", "old");
    expect(opened()).toMatchObject({ id: "c", state: "ready", leaf: "end", wanted: "old" });
    expect(window.location.pathname).toBe("/c/c");
  });

  it("turns the open chat to its branch, and leaves the branch where it is in sight", async () => {
    serve(found);
    await store.openConversation("c");
    expect(opened()).toMatchObject({ leaf: "new", wanted: null });
    await store.openMessage("c", "q");
    expect(opened()).toMatchObject({ leaf: "new", wanted: "q" });
    await store.openMessage("c", "more");
    expect(opened()).toMatchObject({ leaf: "end", wanted: "more" });
    store.foundWanted();
    await store.reloadOpen();
    expect(opened()).toMatchObject({ leaf: "end", wanted: null });
  });

  it("that is gone leaves the chat at its end", async () => {
    serve(found);
    await store.openMessage("c", "gone");
    expect(opened()).toMatchObject({ state: "ready", leaf: "new", wanted: null });
  });
});
