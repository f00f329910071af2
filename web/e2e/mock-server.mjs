// A stand-in for the server, to work on the page without a model: `npm run build && npm run mock`, or `npm run dev`
// beside it. It keeps everything in memory and serves web/dist under the product's Content-Security-Policy. One signs in as
// ada (an administrator), otis (an operator) or grace with "whales sing deep"; SETUP=1 begins without users, SIGN_UP=off takes no
// strangers (mock-gate.mjs says what slows them), and MAIL=off, PASSKEYS=off and PROVIDERS=off do without these. Letters are
// printed here. Passkeys want the page at http://localhost:…
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import {
  answerAccount,
  answerProvider,
  error,
  seedAccounts,
  sessionOf,
  setupToken,
} from "./mock-accounts.mjs";
import { allows, answerAdmin, note, seedAdmin, takeMessage } from "./mock-admin.mjs";
import { answerData } from "./mock-data.mjs";
import { gateStatus } from "./mock-gate.mjs";
import { answerProgram, answerPrograms, referenceText, seedPrograms } from "./mock-programs.mjs";
import { rich, thought } from "./mock-texts.mjs";

const port = Number(process.env.PORT ?? 8080);
const dist = fileURLToPath(new URL("../dist", import.meta.url));
const pause_ms = Number(process.env.PAUSE_MS ?? 25);
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; " +
  "font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const models = [
  ["smollm2-135m", "SmolLM2 135M", true, 2048, "none", 134_515_008, 91_731_264],
  ["qwen3-0.6b", "Qwen3 0.6B", true, 40_960, "switchable", 596_049_920, 484_220_320],
  [
    "deepseek-r1-distill-qwen-1.5b",
    "DeepSeek R1 Distill Qwen 1.5B",
    true,
    131_072,
    "always",
    1_777_088_000,
    1_117_320_736,
  ],
  [
    "deepseek-r1-distill-llama-70b",
    "DeepSeek R1 Distill Llama 70B",
    false,
    131_072,
    "always",
    70_553_706_496,
    42_520_395_584,
  ],
].map(([name, title, installed, context, thinking, parameters, bytes]) => ({
  name,
  title,
  installed,
  loaded: installed,
  context,
  thinking,
  parameters,
  bytes,
}));

const conversations = new Map();
const DAY = 86_400_000;

function addConversation(owner, title, age_ms, model = "smollm2-135m") {
  const at = Math.round(Date.now() - age_ms);
  const conversation = { id: randomUUID(), title, model, system: null, created_ms: at, updated_ms: at };
  conversations.set(conversation.id, { owner, conversation, messages: [], listeners: new Map() });
  return conversations.get(conversation.id);
}

function addMessage(held, role, content, parent_id, more = {}) {
  const message = {
    id: randomUUID(),
    conversation_id: held.conversation.id,
    parent_id,
    role,
    content,
    reasoning: null,
    reasoning_ms: null,
    status: "complete",
    error: null,
    model: role === "assistant" ? held.conversation.model : null,
    created_ms: Date.now(),
    usage: null,
    timing: null,
    ...more,
  };
  held.messages.push(message);
  return message;
}

function seed(owner) {
  const titles = [
    "Why is the sky blue?",
    "天空为什么是蓝色的",
    "Plan a weekend in the mountains for two people who like to walk far",
    "Refactor a parser",
  ];
  for (let index = 0; index < 90; index += 1)
    addConversation(owner, `${titles[index % titles.length]} ${index}`, DAY * (1 + index * 0.7));
  const long = addConversation(owner, "A long chat of 200 messages", DAY * 0.5);
  let parent = null;
  for (let index = 0; index < 100; index += 1) {
    parent = addMessage(long, "user", `Question ${index}: how does part ${index} work?`, parent).id;
    parent = addMessage(
      long,
      "assistant",
      index % 4 === 0
        ? rich
        : `Part ${index} works like **this**:\n\n- one\n- two\n\n\`\`\`python\nprint(${index})\n\`\`\`\n`,
      parent,
    ).id;
  }
  const showcase = addConversation(owner, "Code, formulas and a table", 60_000, "qwen3-0.6b");
  const user = addMessage(
    showcase,
    "user",
    "Show me code, formulas and a table.\n<b>and</b> some $5 text",
    null,
  );
  addMessage(showcase, "assistant", rich, user.id, {
    reasoning: thought,
    reasoning_ms: 12_300,
    usage: { prompt_tokens: 20, completion_tokens: 412, reasoning_tokens: 90 },
    timing: { queued_ms: 2, ttft_ms: 210, total_ms: 6400 },
  });
  const ends = addConversation(owner, "How answers end", 30_000);
  let last = null;
  for (const [status, error] of [
    ["stopped", null],
    ["length", null],
    ["failed", "the model ran out of memory"],
    ["interrupted", null],
  ]) {
    last = addMessage(ends, "user", `End as ${status}`, last).id;
    last = addMessage(ends, "assistant", "The first half of an answer", last, { status, error }).id;
  }
}

function emit(held, message, event, data) {
  for (const response of held.listeners.get(message.id) ?? []) {
    response.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    if (event === "done") response.end();
  }
}

async function generate(held, message, thinking) {
  const started = Date.now();
  const write = async (part, text) => {
    for (const piece of text.match(/[\s\S]{1,7}/g) ?? []) {
      if (message.status !== "generating") return;
      await new Promise((resolve) => setTimeout(resolve, pause_ms));
      message[part] = (message[part] ?? "") + piece;
      emit(held, message, "delta", { part, text: piece });
    }
  };
  await new Promise((resolve) => setTimeout(resolve, 600));
  if (thinking) {
    await write("reasoning", thought);
    message.reasoning_ms = Date.now() - started;
  }
  await write("content", rich);
  if (message.status === "generating") message.status = "complete";
  const tokens = Math.ceil(message.content.length / 4);
  message.usage = { prompt_tokens: 30, completion_tokens: tokens, reasoning_tokens: 0 };
  message.timing = { queued_ms: 1, ttft_ms: 600, total_ms: Date.now() - started };
  emit(held, message, "done", message);
}

function begin(held, parent_id, body) {
  const name = body.model ?? held.conversation.model;
  const style = models.find((model) => model.name === name)?.thinking;
  const message = addMessage(held, "assistant", "", parent_id, { status: "generating", model: name });
  held.conversation.updated_ms = Date.now();
  void generate(held, message, style === "always" || (style === "switchable" && body.thinking !== false));
  return message;
}

const refuse = (status, message) => error(status, null, message);

function list(query, owner) {
  const limit = Number(query.get("limit") ?? 50);
  const before = Number(query.get("before") ?? Number.MAX_SAFE_INTEGER);
  const all = [...conversations.values()]
    .filter((held) => held.owner === owner)
    .map((held) => held.conversation)
    .sort((a, b) => b.updated_ms - a.updated_ms);
  const page = all.filter((conversation) => conversation.updated_ms < before).slice(0, limit);
  const last = page.at(-1);
  return {
    conversations: page,
    next: page.length === limit && last !== undefined ? String(last.updated_ms) : null,
  };
}

function answer(method, parts, query, body, owner) {
  if (parts[0] === "models")
    return {
      status: 200,
      body: { models: models.filter(({ name }) => allows(owner, name)), default: "smollm2-135m" },
    };
  if (parts.length === 1 && method === "GET") return { status: 200, body: list(query, owner) };
  if (parts.length === 1)
    return { status: 201, body: addConversation(owner, "", 0, body.model ?? "smollm2-135m").conversation };
  const held = conversations.get(parts[1]);
  if (held?.owner !== owner) return refuse(404, "no such conversation");
  const { conversation, messages } = held;
  if (parts.length === 2) {
    if (method === "GET") return { status: 200, body: { conversation, messages } };
    if (method === "DELETE") {
      conversations.delete(conversation.id);
      return { status: 204, body: null };
    }
    return { status: 200, body: Object.assign(conversation, body) };
  }
  if (parts.length === 3) {
    if (body.content.includes("busy")) return refuse(503, "the queue is full");
    const refused = takeMessage(owner, body.model ?? conversation.model);
    if (refused !== null) return refused;
    const user = addMessage(held, "user", body.content, body.parent_id ?? null);
    if (conversation.title === "") conversation.title = body.content.slice(0, 60);
    return { status: 201, body: { user, assistant: begin(held, user.id, body) } };
  }
  const message = messages.find((known) => known.id === parts[3]);
  if (message === undefined) return refuse(404, "no such message");
  if (parts[4] === "regenerate")
    return { status: 201, body: { assistant: begin(held, message.parent_id, body) } };
  if (parts[4] === "continue") {
    message.status = "generating";
    void generate(held, message, false);
    return { status: 200, body: { assistant: message } };
  }
  message.status = "stopped";
  return { status: 200, body: message };
}

function stream(held, message, response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.write(`event: snapshot\ndata: ${JSON.stringify(message)}\n\n`);
  if (message.status !== "generating")
    return response.end(`event: done\ndata: ${JSON.stringify(message)}\n\n`);
  const listeners = held.listeners.get(message.id) ?? new Set();
  held.listeners.set(message.id, listeners.add(response));
  response.on("close", () => listeners.delete(response));
}

const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
  ".webmanifest": "application/manifest+json",
};

function file(path, response) {
  const found = join(dist, normalize(path));
  const served =
    path !== "/" && existsSync(found) && extname(found) !== "" ? found : join(dist, "index.html");
  response.writeHead(200, {
    "content-type": types[extname(served)] ?? "application/octet-stream",
    "content-security-policy": policy,
  });
  response.end(readFileSync(served));
}

async function answerApi(url, request, response) {
  const parts = url.pathname.slice("/api/".length).split("/").map(decodeURIComponent);
  const owner = sessionOf(request)?.user;
  if (parts[4] === "stream" && owner !== undefined) {
    const held = conversations.get(parts[1]);
    const message = held?.messages.find((known) => known.id === parts[3]);
    if (held?.owner === owner && message !== undefined) return stream(held, message, response);
  }
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const isJson = request.headers["content-type"] === "application/json" && bytes.length > 0;
  const body = isJson ? JSON.parse(bytes.toString()) : {};
  const name = `${request.method} ${parts.join("/")}`;
  const told =
    answerAccount(request.method, parts, body, request) ??
    answerAdmin(name, parts, url.searchParams, body, request) ??
    answerPrograms(request.method, parts, url.searchParams, body, request) ??
    (await answerData(name, url.searchParams, body, bytes, owner, {
      conversations,
      addConversation,
      addMessage,
    })) ??
    answer(request.method, parts, url.searchParams, body, owner);
  if (name === "POST login" && told.body?.user) note("login", told.body.user.id);
  response.writeHead(told.status, { "content-type": "application/json", ...told.headers });
  response.end(told.body === null ? undefined : (told.raw ?? JSON.stringify(told.body)));
}

if (process.env.SETUP !== "1") {
  seed(seedAccounts());
  seedAdmin();
  seedPrograms();
}
const server = createServer(async (request, response) => {
  const url = new URL(request.url ?? "/", "http://127.0.0.1");
  if (url.pathname === "/readyz") return response.end();
  if (url.pathname === "/openapi.json") {
    response.writeHead(200, { "content-type": "application/json" });
    return response.end(referenceText());
  }
  if (url.pathname.startsWith("/v1/")) {
    const told = answerProgram(`${request.method} ${url.pathname}`, request.headers.authorization);
    response.writeHead(told.status, { "content-type": "application/json" });
    return response.end(JSON.stringify(told.body));
  }
  if (url.pathname.startsWith("/api/")) return answerApi(url, request, response);
  if (url.pathname.startsWith("/oidc/")) {
    const { status, headers } = answerProvider(url, request);
    return response.writeHead(status, headers).end();
  }
  if (url.pathname === "/status" && !request.headers.accept?.includes("text/html")) {
    response.writeHead(200, { "content-type": "application/json", "cache-control": "no-store" });
    return response.end(JSON.stringify(gateStatus()));
  }
  return file(url.pathname, response);
});
server.listen(port, "127.0.0.1", () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  console.log(`mock: ${base}/`);
  if (process.env.SETUP === "1") console.log(`first administrator: ${base}/setup#${setupToken}`);
});
