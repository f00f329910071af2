// The mock server's export, import, search and retention. Its export is plain JSON, whatever it is called.
import { error } from "./mock-accounts.mjs";

const settings = new Map();
const imported = new Map();
const pause = (duration_ms) => new Promise((resolve) => setTimeout(resolve, duration_ms));
const folded = (text) => text.normalize("NFKC").toLowerCase();

function exportAll(owner, { conversations }) {
  const mine = [...conversations.values()].filter((held) => held.owner === owner);
  const text = JSON.stringify({
    format: "cachalot",
    conversations: mine.map(({ conversation, messages }) => ({ ...conversation, messages })),
  });
  const day = new Date().toISOString().slice(0, 10);
  return {
    status: 200,
    body: {},
    raw: text,
    headers: {
      "content-type": "application/zip",
      "content-disposition": `attachment; filename="cachalot-export-${day}.zip"`,
    },
  };
}

/** A conversation of ChatGPT's export, as ours would have it: its nodes one after another. */
function ofChatgpt({ id, title, mapping }) {
  const messages = [];
  for (const { message } of Object.values(mapping)) {
    if (message === null) continue;
    const parent_id = messages.at(-1)?.id ?? null;
    messages.push({
      id: String(messages.length),
      role: message.author.role,
      content: message.content.parts[0],
      parent_id,
    });
  }
  return { id: id ?? title, title, messages };
}

/** Takes the mock's own export and the simplest of ChatGPT's, and refuses all else; conversations without messages are skipped. */
async function importAll(owner, bytes, { addConversation, addMessage }) {
  await pause(800);
  let given;
  try {
    given = JSON.parse(bytes.toString());
  } catch {
    return error(422, "unsupported_file", "the file is none that can be imported");
  }
  const known = imported.get(owner) ?? new Set();
  imported.set(owner, known);
  const foreign = Array.isArray(given);
  const read = foreign ? given.map(ofChatgpt) : given.conversations;
  const told = {
    format: foreign ? "chatgpt" : "cachalot",
    conversations: 0,
    messages: 0,
    already_there: 0,
    skipped: [],
    skipped_total: 0,
  };
  for (const { id, title, messages } of read) {
    if (known.has(id)) told.already_there += 1;
    else if (messages.length === 0) told.skipped.push({ title, why: "it has no messages" });
    else {
      known.add(id);
      const held = addConversation(owner, title, 0);
      const ids = new Map();
      for (const { id: old, role, content, parent_id, ...more } of messages) {
        const { conversation_id: _, ...kept } = more;
        ids.set(old, addMessage(held, role, content, ids.get(parent_id) ?? null, kept).id);
        told.messages += 1;
      }
      told.conversations += 1;
    }
  }
  told.skipped_total = told.skipped.length;
  told.skipped.length = Math.min(told.skipped.length, 100);
  return { status: 200, body: told };
}

function snippetOf(content, words) {
  const text = folded(content);
  const from = Math.max(0, text.indexOf(words[0]) - 40);
  const snippet = content.slice(from, from + 160);
  const shown = folded(snippet);
  const marks = words
    .map((word) => [shown.indexOf(word), word.length])
    .filter(([start]) => start >= 0)
    .sort(([a], [b]) => a - b);
  return { snippet, marks };
}

async function search(owner, query, { conversations }) {
  const words = folded(query.get("q") ?? "")
    .split(/\s+/)
    .filter(Boolean);
  const limit = Number(query.get("limit") ?? 50);
  await pause(150);
  const results = [];
  let scanned = 0;
  for (const held of conversations.values()) {
    if (held.owner !== owner) continue;
    for (const message of held.messages) {
      scanned += 1;
      if (!words.every((word) => folded(message.content).includes(word))) continue;
      results.push({
        conversation_id: held.conversation.id,
        title: held.conversation.title,
        message_id: message.id,
        role: message.role,
        created_ms: message.created_ms,
        ...snippetOf(message.content, words),
      });
    }
  }
  results.sort((a, b) => b.created_ms - a.created_ms);
  return { status: 200, body: { results: results.slice(0, limit), scanned, more: results.length > limit } };
}

/** The answer to a request about one's data as a whole; undefined for what isn't one. */
export async function answerData(name, query, body, bytes, owner, store) {
  switch (name) {
    case "GET account/export":
      return exportAll(owner, store);
    case "POST account/import":
      return importAll(owner, bytes, store);
    case "GET search":
      return search(owner, query, store);
    case "PATCH account/settings":
      settings.set(owner, { ...body, retention_days_max: 365 });
      return { status: 200, body: settings.get(owner) };
    case "GET account/settings":
      return { status: 200, body: settings.get(owner) ?? { retention_days: null, retention_days_max: 365 } };
    default:
      return undefined;
  }
}
