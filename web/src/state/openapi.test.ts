import { describe, expect, it } from "vitest";
import {
  boundsOf,
  curlOf,
  exampleOf,
  fieldsOf,
  filtered,
  groupsOf,
  innerOf,
  type OpenApi,
  typeText,
  valuesOf,
} from "./openapi";

const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const json = (schema: object) => ({ content: { "application/json": { schema } } });

const api: OpenApi = {
  tags: [{ name: "chat", description: "Talking." }, { name: "unused" }],
  paths: {
    "/v1/models": { get: { tags: ["models"], summary: "All models", responses: { 200: {} } } },
    "/v1/chat": {
      parameters: [{ $ref: "#/components/parameters/Trace" }],
      post: {
        tags: ["chat"],
        summary: "Answers",
        requestBody: { required: true, ...json(ref("Request")) },
        responses: { 200: json(ref("Tree")), default: { $ref: "#/components/responses/Refused" } },
      },
    },
    "/api/x/{id}": { delete: { parameters: [{ name: "id", in: "path", required: true }] } },
  },
  components: {
    parameters: { Trace: { name: "trace", in: "header", schema: { type: "string" } } },
    responses: { Refused: { description: "No.", ...json(ref("Error")) } },
    schemas: {
      Request: {
        type: "object",
        required: ["model", "messages"],
        properties: {
          temperature: { type: ["number", "null"], minimum: 0, maximum: 2, default: 1 },
          model: { type: "string" },
          messages: { type: "array", minItems: 1, items: ref("Message") },
          tree: { oneOf: [ref("Tree"), { type: "null" }] },
        },
      },
      Message: {
        allOf: [
          ref("Base"),
          { type: "object", required: ["content"], properties: { content: ref("Content") } },
        ],
      },
      Base: { type: "object", required: ["role"], properties: { role: ref("Role") } },
      Role: { type: "string", enum: ["system", "user", null] },
      Content: { anyOf: [{ type: "string" }, { type: "array", items: ref("Part") }] },
      Part: {
        oneOf: [
          { type: "object", properties: { type: { const: "text" }, text: { type: "string" } } },
          { type: "object", properties: { type: { const: "image" }, url: { type: "string" } } },
        ],
      },
      Tree: {
        type: "object",
        required: ["children", "parent"],
        properties: { children: { type: "array", items: ref("Tree") }, parent: ref("Tree") },
      },
      Map: { type: "object", additionalProperties: { type: "integer" } },
      Pair: { type: "array", prefixItems: [{ type: "integer" }, { type: "string" }] },
      Circle: ref("Circle"),
      Error: { type: "object", properties: { error: { type: "string" } } },
    },
  },
};

describe("a schema", () => {
  it.each([
    ["Request", "Request"],
    ["Message", "Message"],
    ["Role", "string"],
    ["Content", "string | object[]"],
    ["Map", "{ [name]: integer }"],
    ["Pair", "[integer, string]"],
    ["Circle", "any"],
    ["Nothing", "any"],
    ["constructor", "any"],
  ])("%s is written as %s", (name, text) => expect(typeText(api, ref(name))).toBe(text));

  it("has its required fields first, and whether they may be null", () => {
    const fields = fieldsOf(api, ref("Request"));
    expect(fields.map(({ name, required }) => [name, required])).toEqual([
      ["model", true],
      ["messages", true],
      ["temperature", false],
      ["tree", false],
    ]);
    expect(fields.map(({ schema }) => typeText(api, schema))).toEqual([
      "string",
      "Message[]",
      "number | null",
      "Tree | null",
    ]);
    expect(boundsOf(api, fields[2]?.schema ?? {})).toEqual(["≥ 0", "≤ 2", "= 1"]);
  });

  it("has the fields of all that it is made of, and the values that it may be", () => {
    expect(fieldsOf(api, ref("Message")).map(({ name }) => name)).toEqual(["role", "content"]);
    expect(valuesOf(api, ref("Role"))).toEqual(['"system"', '"user"']);
    expect(valuesOf(api, ref("Content"))).toEqual([]);
  });

  it("holds objects, through lists and alternatives", () => {
    const names = (schema: object) => innerOf(api, schema).map(({ name }) => name);
    expect(names({ type: "array", items: ref("Message") })).toEqual(["Message"]);
    expect(names(ref("Content"))).toEqual(['{ type: "text" }', '{ type: "image" }']);
    expect(names(ref("Circle"))).toEqual([]);
  });
});

describe("an example", () => {
  it("has what must be there, and ends where a schema holds itself", () => {
    expect(exampleOf(api, ref("Request"))).toEqual({
      model: "smollm2-135m",
      messages: [{ role: "user", content: "Hello!" }],
    });
    expect(JSON.stringify(exampleOf(api, ref("Tree"))).length).toBeLessThan(2000);
    expect(exampleOf(api, ref("Circle"))).toBe("…");
  });

  it("is a command for what programs ask, and none for what the web app does", () => {
    const endpoints = groupsOf(api).flatMap((group) => group.endpoints);
    const curl = (path: string) => {
      const found = endpoints.find((endpoint) => endpoint.path === path);
      return found === undefined ? undefined : curlOf(api, found, "https://whale.example");
    };
    expect(curl("/v1/chat")).toContain("curl -X POST 'https://whale.example/v1/chat' \\\n");
    expect(curl("/v1/chat")).toContain('"model": "smollm2-135m"');
    expect(curl("/v1/models")).not.toContain("-d");
    expect(curl("/api/x/{id}")).toBeNull();
  });
});

describe("what can be asked", () => {
  it("stands by tag, the described ones first, with what references lead to", () => {
    const groups = groupsOf(api);
    expect(groups.map(({ name }) => name)).toEqual(["chat", "models", ""]);
    const [chat] = groups[0]?.endpoints ?? [];
    expect(chat?.parameters).toMatchObject([{ name: "trace", place: "header", required: false }]);
    expect(chat?.body).toMatchObject({ required: true, media: [{ type: "application/json" }] });
    expect(chat?.responses).toMatchObject([
      { status: "200" },
      { status: "default", description: "No.", media: [{ schema: ref("Error") }] },
    ]);
    expect(groupsOf({})).toEqual([]);
  });

  it.each([
    ["", ["/v1/chat", "/v1/models", "/api/x/{id}"]],
    ["V1 get", ["/v1/models"]],
    ["answers", ["/v1/chat"]],
    ["chat post", ["/v1/chat"]],
    ["nowhere", []],
  ])("is found by %j", (text, paths) => {
    const found = filtered(groupsOf(api), text);
    expect(found.flatMap(({ endpoints }) => endpoints.map(({ path }) => path))).toEqual(paths);
  });
});
