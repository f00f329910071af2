// The mock server's keys, balances and usage: enough of the real one's rules for work on the page. FREE=1 has no prices. The
// reference is the committed one, or that of OPENAPI, a file.
import { randomBytes, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { error, none, sessionOf, users } from "./mock-accounts.mjs";

const DAY = 86_400_000;
const HOUR = 3_600_000;
const KEYS_MAX = 8;
const free = process.env.FREE === "1";
const currency = process.env.CURRENCY ?? "USD";
const MODELS = ["deepseek-r1-distill-qwen-1.5b", "qwen3-0.6b", "smollm2-135m"];
/** Nanos for a token: of the cache, of the prompt, of the answer. */
const PRICES = [
  [70, 140, 2190],
  [20, 80, 400],
  [5, 10, 40],
];

const keys = new Map();
const balances = new Map();
const rows = [];

const ok = (body, status = 200) => ({ status, body });
const notFound = () => error(404, "not_found", "there is no such thing");
const wrong = (param, message) => error(422, "invalid_parameter", message, { param });

const text = (nanos) => {
  const size = String(Math.abs(nanos)).padStart(10, "0");
  const part = size.slice(-9).replace(/0+$/, "");
  return `${nanos < 0 ? "-" : ""}${size.slice(0, -9)}${part === "" ? "" : `.${part}`}`;
};
const nanos = (amount) => Math.round(Number(amount) * 1e9);

const nothingSet = {
  expires_ms: null,
  models: null,
  spend_max: null,
  addresses: [],
  requests_at_once: null,
  requests_per_day: null,
  tokens_per_day: null,
};

function addKey(user, asked, more = {}) {
  const secret = `sk-cachalot-${randomBytes(64).toString("base64url")}`;
  const key = {
    ...{ id: randomUUID(), start: secret.slice(0, 18), created_ms: Date.now(), used_ms: null, spent: "0" },
    ...nothingSet,
    ...asked,
    ...more,
  };
  keys.set(key.id, { user, key, secret });
  return { key, secret };
}

const balanceOf = (user) => {
  const known = balances.get(user) ?? { granted: free ? 0 : 5e9, topped_up: 0, held: 0, credits: [] };
  balances.set(user, known);
  return known;
};

function addCredit(user, kind, amount, note, age_ms = 0) {
  const balance = balanceOf(user);
  const name = kind === "grant" ? "granted" : "topped_up";
  const given = Math.max(amount, -balance[name]);
  balance[name] += given;
  balance.credits.unshift({ id: randomUUID(), at_ms: Date.now() - age_ms, kind, amount: text(given), note });
}

const viewOfBalance = (user) => {
  const { granted, topped_up, held, credits } = balanceOf(user);
  return {
    ...{ currency, free, granted: text(granted), topped_up: text(topped_up), held: text(held) },
    ...{ available: text(granted + topped_up - held), credits: credits.slice(0, 50) },
  };
};

function addRow(user, key, model, age_ms, index) {
  const [hit, miss, output] = [
    (index * 7919) % 6000,
    20 + ((index * 104_729) % 900),
    10 + ((index * 1299) % 700),
  ];
  const [hitPrice, missPrice, outputPrice] = PRICES[model];
  const endpoint = key === null ? "chat" : ["/v1/chat/completions", "/anthropic/v1/messages"][index % 2];
  const row = {
    ...{ id: randomUUID(), at_ms: Math.round(Date.now() - age_ms), user_id: user, key_id: key, endpoint },
    ...{ model: MODELS[model], class: "default", hit_tokens: hit, miss_tokens: miss, output_tokens: output },
    reasoning_tokens: model === 2 ? 0 : Math.floor(output / 3),
    cost: free ? "0" : text(hit * hitPrice + miss * missPrice + output * outputPrice),
    ...{
      queued_ms: index % 9,
      ttft_ms: index % 13 === 5 ? null : 80 + ((index * 31) % 2400),
      total_ms: 3000,
    },
    outcome: ["complete", "complete", "complete", "cancelled", "complete", "failed"][index % 6],
  };
  rows.push(row);
  return row;
}

/** Keys, credits and the requests of a quarter, for the first users. */
export function seedPrograms() {
  const [ada, grace, otis] = [...users.keys()];
  const used = { used_ms: Date.now() - 3 * HOUR, created_ms: Date.now() - 40 * DAY, spent: "1.204806" };
  const robot = addKey(ada, { name: "Nightly summaries", spend_max: "20", requests_per_day: 1000 }, used).key;
  const editor = addKey(
    ada,
    {
      name: "编辑器插件 with a name that is rather long for a phone",
      models: ["smollm2-135m", "qwen3-0.6b"],
      addresses: ["192.0.2.0/24", "2001:db8::/32"],
      requests_at_once: 1,
      tokens_per_day: 2_000_000,
      expires_ms: Date.now() + 20 * DAY,
    },
    { used_ms: Date.now() - 10_000, created_ms: Date.now() - 12 * DAY, spent: "0.000214" },
  ).key;
  addKey(ada, { name: "Old", expires_ms: Date.now() - DAY }, { created_ms: Date.now() - 90 * DAY });
  const theirs = addKey(grace, { name: "Grace's script" }).key;
  addCredit(ada, "grant", 10e9, "", 60 * DAY);
  addCredit(ada, "top_up", 25e9, "Invoice 2026-014", 20 * DAY);
  addCredit(ada, "grant", -1.5e9, "Given twice by mistake, taken back after a talk with the team", 3 * DAY);
  balanceOf(ada).granted -= 1.2345678e9;
  balanceOf(ada).held = 0.0021e9;
  for (let index = 0; index < 420; index += 1) {
    const age_ms = ((index * index) / 420 / 420) * 88 * DAY + index * 60_000;
    if (index % 11 === 3) continue;
    addRow(ada, [robot.id, editor.id, null, robot.id][index % 4], index % 3, age_ms, index);
  }
  for (let index = 0; index < 30; index += 1) addRow(grace, theirs.id, 2, index * DAY * 0.7, index);
  addRow(otis, null, 1, 2 * DAY, 4);
  addRow(null, null, 2, HOUR, 9);
  addRow(randomUUID(), null, 2, 2 * HOUR, 9);
  rows.sort((a, b) => b.at_ms - a.at_ms);
}

// --- what is asked ---

const COUNTS = { requests_at_once: 1e8, requests_per_day: 1e8, tokens_per_day: 1e12 };

/** As the real server writes addresses. */
function written(asked) {
  const range = (address) => (/^[\d.]+$/.test(address) ? `${address}/32` : address);
  return asked.addresses === undefined ? asked : { ...asked, addresses: asked.addresses.map(range) };
}

function refusedKey(asked) {
  for (const [name, most] of Object.entries(COUNTS))
    if (asked[name] > most) return wrong(name, `${name} must be at most ${most}`);
  const isAddress = (one) => /^\d+(\.\d+){3}(\/([12]?\d|3[0-2]))?$|:/.test(one);
  if (!(asked.addresses ?? []).every(isAddress)) return wrong("addresses", "addresses must be addresses");
  return null;
}

function ofKeys(method, id, body, user) {
  const own = [...keys.values()].filter((held) => held.user === user).map(({ key }) => key);
  if (id === undefined && method === "GET") return ok({ keys: own.toReversed(), keys_max: KEYS_MAX });
  const refused = method === "DELETE" ? null : refusedKey(body);
  if (refused !== null) return refused;
  if (id === undefined) {
    if (own.length >= KEYS_MAX) return error(409, "conflict", "there are as many keys as there may be");
    return ok(addKey(user, written(body)), 201);
  }
  const key = own.find((known) => known.id === id);
  if (key === undefined) return notFound();
  if (method === "PATCH") return ok(Object.assign(key, written(body)));
  keys.delete(id);
  return none;
}

function asked(query, user) {
  const key = query.get("key") || null;
  const since = Number(query.get("since") ?? 0);
  return rows.filter(
    (row) =>
      (user === null || row.user_id === user) && (key === null || row.key_id === key) && row.at_ms >= since,
  );
}

function page(query, user) {
  const from = Number(query.get("before") ?? 0);
  const end = from + Number(query.get("limit") ?? 50);
  const all = asked(query, user);
  return ok({ rows: all.slice(from, end), next: end < all.length ? String(end) : null, currency });
}

function sums(query, user) {
  const length_ms = query.get("by") === "hour" ? HOUR : DAY;
  const zone_ms = Number(query.get("zone") ?? 0) * 60_000;
  const all = new Map();
  for (const row of asked(query, user)) {
    const from_ms = Math.floor((row.at_ms + zone_ms) / length_ms) * length_ms - zone_ms;
    const name = `${from_ms} ${row.model}`;
    const sum = all.get(name) ?? { from_ms, model: row.model, requests: 0, cost: "0" };
    all.set(name, sum);
    sum.requests += 1;
    sum.cost = text(nanos(sum.cost) + nanos(row.cost));
    for (const part of ["hit_tokens", "miss_tokens", "output_tokens", "reasoning_tokens"])
      sum[part] = (sum[part] ?? 0) + row[part];
  }
  const since_ms = Number(query.get("since"));
  return ok({ sums: [...all.values()], since_ms, until_ms: Date.now(), currency });
}

const HEADS =
  "time,user,key,endpoint,model,class,hit_tokens,miss_tokens,output_tokens,reasoning_tokens,cost,currency,queued_ms,ttft_ms,total_ms,outcome";

const csv = (query, user) => ({
  ...ok({}),
  raw: [
    HEADS,
    ...asked(query, user).map((row) => {
      const { id: _id, at_ms, user_id, key_id, endpoint, model, class: of, ...rest } = row;
      const { hit_tokens, miss_tokens, output_tokens, reasoning_tokens, cost, ...times } = rest;
      const texts = [new Date(at_ms).toISOString(), user_id, key_id, endpoint, model, of];
      const counts = [hit_tokens, miss_tokens, output_tokens, reasoning_tokens, cost, currency];
      return [...texts, ...counts, ...Object.values(times)].join();
    }),
    "",
  ].join("\r\n"),
  headers: {
    "content-type": "text/csv",
    "content-disposition": 'attachment; filename="cachalot-usage.csv"',
  },
});

const usageRoutes = { usage: page, "usage/sums": sums, "usage.csv": csv };

const prices = () =>
  ok({
    currency,
    sign_up_credit: free ? "0" : "5",
    prices: free
      ? []
      : [
          ...[
            {
              model: MODELS[0],
              class: "key",
              hours: "16:30-00:30",
              hit: "0.035",
              miss: "0.07",
              output: "1.1",
            },
          ],
          ...PRICES.map(([hit, miss, output], index) => ({
            ...{ model: MODELS[index], class: null, hours: null },
            ...{ hit: text(hit * 1e6), miss: text(miss * 1e6), output: text(output * 1e6) },
          })),
        ],
  });

/** What operators and administrators ask about usage and balances; undefined for what isn't about these. */
export function answerAdminPrograms(method, parts, query, body, me) {
  const [, first, id, what, which] = parts;
  if (first === "prices") return prices();
  const usage = usageRoutes[parts.slice(1).join("/")];
  if (usage !== undefined) return usage(query, query.get("user") || null);
  if (first !== "users" || !users.has(id)) return undefined;
  if (what === "balance") return ok(viewOfBalance(id));
  if (what === "keys") {
    const told = ofKeys(method, which, body, id);
    // How many one may have is said to whose they are.
    return method === "GET" ? ok({ keys: told.body.keys }) : told;
  }
  if (what !== "credit") return undefined;
  if (me.role !== "admin") return error(403, "not_allowed", "this is for administrators");
  addCredit(id, body.kind, nanos(body.amount), body.note);
  return ok(viewOfBalance(id));
}

/** One's own keys, balance and usage; undefined for what isn't about these. */
export function answerPrograms(method, parts, query, body, request) {
  const user = sessionOf(request)?.user;
  if (parts[0] === "keys") return ofKeys(method, parts[1], body, user);
  if (parts[0] === "balance") return ok(viewOfBalance(user));
  return usageRoutes[parts.join("/")]?.(query, user);
}

// --- what programs ask ---

/** A plain answer to whoever has a key, which is counted. */
export function answerProgram(name, authorization = "") {
  const secret = authorization.replace(/^Bearer /, "");
  const held = [...keys.values()].find((known) => known.secret === secret);
  if (held === undefined) return error(401, "invalid_api_key", "there is no such key");
  const { user, key } = held;
  if (name === "GET /v1/models") return ok({ object: "list", data: MODELS.map((id) => ({ id })) });
  if (name !== "POST /v1/chat/completions") return notFound();
  const { hit_tokens, miss_tokens, output_tokens, cost } = addRow(user, key.id, 2, 0, 2 + 2 * rows.length);
  rows.unshift(rows.pop());
  Object.assign(key, { used_ms: Date.now(), spent: text(nanos(key.spent) + nanos(cost)) });
  balanceOf(user).granted -= nanos(cost);
  const usage = { prompt_tokens: hit_tokens + miss_tokens, completion_tokens: output_tokens };
  return ok({ choices: [{ index: 0, message: { role: "assistant", content: "Hello!" } }], usage });
}

// --- the reference ---

const document = new URL("../../docs/openapi.json", import.meta.url);

/** The server's own description of its API, or that of OPENAPI, a file. */
export const referenceText = () => readFileSync(process.env.OPENAPI ?? document, "utf8");
