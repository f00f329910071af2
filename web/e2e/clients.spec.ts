import Anthropic from "@anthropic-ai/sdk";
import { test as base, expect } from "@playwright/test";
import OpenAI from "openai";
import { Server } from "./server";

/** The official clients of TypeScript against the real program. No browser has a part in it. */

const QUESTION = [{ role: "user" as const, content: "What is the weather in Paris today?" }];
const LONG = [{ role: "user" as const, content: "Count from one to a thousand in words, and do not stop." }];
const SCHEMA = {
  type: "object" as const,
  properties: { city: { type: "string", maxLength: 20 }, days: { type: "integer", minimum: 1, maximum: 9 } },
  required: ["city", "days"],
  additionalProperties: false,
};
const TOOL = {
  type: "function" as const,
  function: { name: "get_weather", description: "The weather of a city.", parameters: SCHEMA, strict: true },
};

/** Arguments or a document, which must be as the schema says. */
function check(given: unknown): void {
  expect(given).toEqual({ city: expect.any(String), days: expect.any(Number) });
}

const test = base.extend<object, { server: Server; thinker: Server; model: string }>({
  server: [
    // biome-ignore lint/correctness/noEmptyPattern: Playwright reads the fixtures that are needed from this pattern
    async ({}, use) => {
      const server = await Server.create();
      await use(server);
      await server.dispose();
    },
    { scope: "worker", timeout: 180_000 },
  ],
  thinker: [
    // biome-ignore lint/correctness/noEmptyPattern: as above
    async ({}, use) => {
      const server = await Server.createThinking();
      await use(server);
      await server.dispose();
    },
    { scope: "worker", timeout: 180_000 },
  ],
  model: [
    async ({ server }, use) => {
      const [first] = (await openai(server).models.list()).data;
      if (first === undefined) throw new Error("the server lists no model");
      await use(first.id);
    },
    { scope: "worker" },
  ],
});

const openai = (server: Server, apiKey = "unused", maxRetries = 0) =>
  new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries });
const anthropic = (server: Server, apiKey = "unused", maxRetries = 0) =>
  new Anthropic({ baseURL: `${server.url}/anthropic`, apiKey, maxRetries });

test("openai: a chat, whole and streamed, says the same", async ({ server, model }) => {
  const client = openai(server);
  const options = { model, messages: QUESTION, temperature: 0, max_tokens: 24 };
  const whole = await client.chat.completions.create(options);
  let text = "";
  for await (const chunk of await client.chat.completions.create({ ...options, stream: true })) {
    text += chunk.choices[0]?.delta.content ?? "";
  }
  expect(text).toBe(whole.choices[0]?.message.content);
  expect(whole.usage?.prompt_tokens).toBeGreaterThan(5);
});

test("openai: tools and JSON Schema are held to", async ({ server, model }) => {
  const client = openai(server);
  const called = await client.chat.completions.create({
    model,
    messages: QUESTION,
    tools: [TOOL],
    tool_choice: "required",
    max_tokens: 200,
    temperature: 0,
  });
  const call = called.choices[0]?.message.tool_calls?.[0];
  if (call?.type !== "function") throw new Error("no function was called");
  check(JSON.parse(call.function.arguments));
  const written = await client.chat.completions.create({
    model,
    messages: QUESTION,
    response_format: { type: "json_schema", json_schema: { name: "weather", schema: SCHEMA, strict: true } },
    max_tokens: 200,
    temperature: 0,
  });
  check(JSON.parse(written.choices[0]?.message.content ?? ""));
});

test("openai: the responses endpoint answers and streams", async ({ server, model }) => {
  const client = openai(server);
  const whole = await client.responses.create({
    model,
    input: "Say hello.",
    max_output_tokens: 24,
    temperature: 0,
  });
  expect(whole.output_text.length).toBeGreaterThan(0);
  let text = "";
  const stream = await client.responses.create({
    model,
    input: "Say hello.",
    max_output_tokens: 24,
    temperature: 0,
    stream: true,
  });
  for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta;
  expect(text).toBe(whole.output_text);
});

test("openai: errors have their types", async ({ server, model }) => {
  const client = openai(server);
  await expect(
    client.chat.completions.create({ model: "no-such-model", messages: QUESTION }),
  ).rejects.toThrow(OpenAI.NotFoundError);
  await expect(client.chat.completions.create({ model, messages: QUESTION, temperature: 9 })).rejects.toThrow(
    OpenAI.UnprocessableEntityError,
  );
  await expect(openai(server, "sk-cachalot-nonsense").models.list()).rejects.toThrow(
    OpenAI.AuthenticationError,
  );
});

test("anthropic: a message, whole and streamed, with tools and errors", async ({ server, model }) => {
  const client = anthropic(server);
  const options = { model, max_tokens: 24, messages: QUESTION, temperature: 0 };
  const whole = await client.messages.create(options);
  const streamed = await client.messages.stream(options).finalMessage();
  expect(streamed.content).toEqual(whole.content);
  const called = await client.messages.create({
    ...options,
    max_tokens: 200,
    // Strict, as so small a model may otherwise write arguments without end.
    tools: [
      { name: "get_weather", description: "The weather of a city.", input_schema: SCHEMA, strict: true },
    ],
    tool_choice: { type: "tool", name: "get_weather", disable_parallel_tool_use: true },
  });
  expect(called.stop_reason).toBe("tool_use");
  expect(called.content.at(-1)).toMatchObject({ type: "tool_use", name: "get_weather" });
  const counted = await client.messages.countTokens({ model, messages: QUESTION });
  expect(counted.input_tokens).toBe(whole.usage.input_tokens + (whole.usage.cache_read_input_tokens ?? 0));
  await expect(client.messages.create({ ...options, model: "no-such-model" })).rejects.toThrow(
    Anthropic.NotFoundError,
  );
});

test("thoughts come apart from the answer in both", async ({ thinker }) => {
  const [first] = (await openai(thinker).models.list()).data;
  const model = first?.id ?? "";
  const budget = { thinking: { type: "enabled", budget_tokens: 24 } };
  const stream = await openai(thinker).chat.completions.create({
    model,
    messages: QUESTION,
    max_tokens: 160,
    temperature: 0,
    stream: true,
    ...budget,
  } as OpenAI.ChatCompletionCreateParamsStreaming);
  let thought = "";
  let text = "";
  for await (const chunk of stream) {
    const delta = chunk.choices[0]?.delta as
      | { content?: string | null; reasoning_content?: string | null }
      | undefined;
    expect(Boolean(delta?.content) && Boolean(delta?.reasoning_content)).toBe(false);
    thought += delta?.reasoning_content ?? "";
    text += delta?.content ?? "";
  }
  expect(thought.length).toBeGreaterThan(0);
  expect(text.length).toBeGreaterThan(0);
  const message = await anthropic(thinker).messages.create({
    model,
    max_tokens: 1200,
    messages: QUESTION,
    thinking: { type: "enabled", budget_tokens: 1024 },
  });
  expect(message.content[0]).toMatchObject({ type: "thinking" });
});

test("both come back by themselves when a place is taken", async ({ server, model }) => {
  const key = await server.key({ requests_at_once: 1 });
  const occupy = async (duration_ms: number): Promise<{ done: Promise<void> }> => {
    const stream = await openai(server, key).chat.completions.create({ model, messages: LONG, stream: true });
    setTimeout(() => stream.controller.abort(), duration_ms);
    const done = (async () => {
      try {
        for await (const _ of stream);
      } catch {
        // It was cut off, as was meant.
      }
    })();
    return { done };
  };
  const short = { model, max_tokens: 4, messages: [{ role: "user" as const, content: "Say hello." }] };
  let busy = await occupy(3000);
  await expect(openai(server, key).chat.completions.create(short)).rejects.toThrow(OpenAI.RateLimitError);
  expect((await openai(server, key, 6).chat.completions.create(short)).choices).toHaveLength(1);
  await busy.done;
  busy = await occupy(2000);
  expect((await anthropic(server, key, 6).messages.create(short)).content.length).toBeGreaterThan(0);
  await busy.done;
});
