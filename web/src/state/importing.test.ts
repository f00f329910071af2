import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { cutOff, onSignedOut } from "../api/client";
import { cancelImport, startImport, useImport } from "./importing";
import { useStore } from "./store";

const taken = { format: "cachalot", conversations: 1, messages: 2, already_there: 0, skipped: [] };
const state = () => useImport.getState().importing;

/** The request of the moment, whose course the test tells. */
class Sending extends EventTarget {
  static now: Sending;
  static count = 0;
  upload = new EventTarget();
  status = 0;
  statusText = "";
  responseText = "";
  sent: unknown = null;
  headers: Record<string, string> = {};
  constructor() {
    super();
    Sending.now = this;
    Sending.count += 1;
  }
  open() {}
  setRequestHeader(name: string, value: string) {
    this.headers[name] = value;
  }
  getResponseHeader() {
    return null;
  }
  send(body: unknown) {
    this.sent = body;
  }
  abort() {
    this.dispatchEvent(new Event("abort"));
  }
  progress(loaded: number, total: number) {
    this.upload.dispatchEvent(new ProgressEvent("progress", { lengthComputable: true, loaded, total }));
  }
  answer(status: number, body: unknown) {
    this.status = status;
    this.responseText = typeof body === "string" ? body : JSON.stringify(body);
    this.dispatchEvent(new Event("load"));
  }
}

const file = new File(["{}"], "export.zip");

beforeEach(() => {
  Sending.count = 0;
  vi.stubGlobal("XMLHttpRequest", Sending);
  vi.stubGlobal("fetch", async () => Response.json({ conversations: [], next: null }));
  useStore.setState(useStore.getInitialState());
  useImport.setState(useImport.getInitialState());
});
afterEach(() => vi.unstubAllGlobals());

it("tells how much has been sent, then what came of it", async () => {
  const done = startImport(file);
  expect(Sending.now.sent).toBe(file);
  expect(Sending.now.headers).toEqual({ "content-type": "application/octet-stream" });
  Sending.now.progress(1, 4);
  expect(state()).toEqual({ state: "sending", name: "export.zip", share: 0.25 });
  Sending.now.progress(4, 4);
  expect(state()).toEqual({ state: "reading" });
  Sending.now.answer(200, taken);
  await done;
  expect(state()).toEqual({ state: "done", imported: taken });
  await vi.waitFor(() => expect(useStore.getState().listState).toBe("ready"));
});

it.each([
  [422, "unsupported_file", "unknownFormat"],
  [400, "invalid_format", "unknownFormat"],
  [422, "broken_conversation", "failed"],
  [413, "body_too_large", "tooLarge"],
  [413, "unpacks_too_large", "tooLarge"],
  [408, "body_too_slow", "broken"],
  [429, "import_running", "running"],
  [503, "too_many_imports", "busy"],
  [500, "internal_error", "failed"],
])("tells the refusal %i %s as %s", async (status, code, trouble) => {
  const done = startImport(file);
  Sending.now.answer(status, { error: { code, message: "why" } });
  await done;
  expect(state()).toEqual({ state: "refused", trouble, detail: "why" });
});

it("tells a broken connection, and takes the next file", async () => {
  const first = startImport(file);
  Sending.now.dispatchEvent(new Event("error"));
  await first;
  expect(state()).toMatchObject({ state: "refused", trouble: "broken" });
  const second = startImport(file);
  Sending.now.answer(200, taken);
  await second;
  expect(state()).toMatchObject({ state: "done" });
});

it("sends one file at a time, and stops when it is told to", async () => {
  const first = startImport(file);
  await startImport(file);
  expect(Sending.count).toBe(1);
  cancelImport();
  await first;
  expect(state()).toEqual({ state: "cancelled" });
});

it("leaves nothing to the next user", async () => {
  void startImport(file);
  const before = Sending.now;
  cutOff();
  expect(state()).toEqual({ state: "idle" });
  before.answer(200, taken);
  before.progress(1, 2);
  expect(state()).toEqual({ state: "idle" });
  const done = startImport(file);
  expect(Sending.count).toBe(2);
  Sending.now.answer(200, taken);
  await done;
  cutOff();
  expect(state()).toEqual({ state: "idle" });
});

it("notices that the session is over", async () => {
  const lost = vi.fn();
  onSignedOut(lost);
  const done = startImport(file);
  Sending.now.answer(401, { error: { code: "not_signed_in", message: "sign in" } });
  await done;
  expect(lost).toHaveBeenCalledOnce();
});
