/**
 * What the server's description of its API (OpenAPI 3.1) says, in the shape in which the page shows it. What the description
 * leaves out, or says in a way that is unknown here, is left out there too.
 */

type Json = null | boolean | number | string | readonly Json[] | { readonly [name: string]: Json };

export interface Schema {
  $ref?: string;
  title?: string;
  description?: string;
  type?: string | readonly string[];
  format?: string;
  enum?: readonly Json[];
  const?: Json;
  default?: Json;
  example?: Json;
  examples?: readonly Json[];
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  pattern?: string;
  properties?: Readonly<Record<string, Schema | boolean>>;
  required?: readonly string[];
  additionalProperties?: Schema | boolean;
  items?: Schema | boolean;
  prefixItems?: readonly Schema[];
  oneOf?: readonly Schema[];
  anyOf?: readonly Schema[];
  allOf?: readonly Schema[];
}

interface Media {
  schema?: Schema;
  example?: Json;
}

interface Parameter {
  $ref?: string;
  name?: string;
  in?: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}

interface Described {
  $ref?: string;
  description?: string;
  required?: boolean;
  content?: Readonly<Record<string, Media>>;
}

interface Operation {
  tags?: readonly string[];
  summary?: string;
  description?: string;
  deprecated?: boolean;
  parameters?: readonly Parameter[];
  requestBody?: Described;
  responses?: Readonly<Record<string, Described>>;
}

export interface OpenApi {
  openapi?: string;
  info?: { title?: string; version?: string; description?: string };
  tags?: readonly { name: string; description?: string }[];
  paths?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
  components?: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

const METHODS = ["get", "post", "put", "patch", "delete", "head", "options"] as const;

/** More `$ref`s than these in a row lead in a circle. */
const STEPS_MAX = 16;
/** How deep an example, or the name of a type, goes into what is within. */
const DEPTH_MAX = 6;

// --- what a reference leads to ---

/** The name of what a reference means, such as `Message` of `#/components/schemas/Message`. */
const nameOf = (ref: string): string => decodeURIComponent(ref.slice(ref.lastIndexOf("/") + 1));

function lookUp(api: OpenApi, ref: string): unknown {
  const [, kind, name] = /^#\/components\/([^/]+)\/([^/]+)$/.exec(ref) ?? [];
  if (kind === undefined || name === undefined) return undefined;
  const known = api.components?.[kind];
  return known !== undefined && Object.hasOwn(known, decodeURIComponent(name))
    ? known[decodeURIComponent(name)]
    : undefined;
}

/** What stands at the end of all references; what is said beside one counts more than what it leads to. */
function resolved<Thing extends { $ref?: string }>(api: OpenApi, given: Thing): Thing & { named?: string } {
  let thing: Thing & { named?: string } = given;
  for (let step = 0; step < STEPS_MAX && thing.$ref !== undefined; step += 1) {
    const { $ref, named, ...beside } = thing;
    const found = lookUp(api, $ref);
    const known = typeof found === "object" && found !== null ? (found as Thing) : ({} as Thing);
    thing = { ...known, ...beside, named: named ?? nameOf($ref) };
  }
  return thing;
}

// --- schemas ---

interface Variants {
  schemas: readonly Schema[];
  nullable: boolean;
}

/** What a value may be one of, without null. */
function variantsOf(api: OpenApi, schema: Schema): Variants {
  const all = schema.oneOf ?? schema.anyOf ?? [];
  const schemas = all.filter((one) => resolved(api, one).type !== "null");
  return { schemas, nullable: schemas.length < all.length };
}

const typesOf = ({ type }: Schema): readonly string[] =>
  type === undefined ? [] : typeof type === "string" ? [type] : type;

/** A type in short, as programs write it: `string`, `Message[]`, `integer | null`. */
export function typeText(api: OpenApi, given: Schema | boolean, depth = 0): string {
  if (typeof given === "boolean" || depth > DEPTH_MAX) return "any";
  const schema = resolved(api, given);
  const { schemas, nullable } = variantsOf(api, schema);
  const texts = new Set<string>();
  if (schemas.length > 0) for (const one of schemas) texts.add(typeText(api, one, depth + 1));
  else if (schema.named !== undefined && isObject(api, schema)) texts.add(schema.named);
  else
    for (const type of typesOf(schema)) if (type !== "null") texts.add(plainText(api, schema, type, depth));
  if (texts.size === 0 && schema.properties !== undefined) texts.add("object");
  if (texts.size === 0 && schema.const !== undefined) texts.add(typeof schema.const);
  if (texts.size === 0 && schema.enum !== undefined) texts.add("string");
  if (texts.size === 0 && schema.allOf !== undefined) texts.add(schema.named ?? "object");
  if (texts.size === 0) texts.add("any");
  if (nullable || typesOf(schema).includes("null")) texts.add("null");
  return [...texts].join(" | ");
}

function plainText(api: OpenApi, schema: Schema, type: string, depth: number): string {
  if (type === "object" && typeof schema.additionalProperties === "object")
    return `{ [name]: ${typeText(api, schema.additionalProperties, depth + 1)} }`;
  if (type !== "array") return type;
  if (schema.prefixItems !== undefined)
    return `[${schema.prefixItems.map((item) => typeText(api, item, depth + 1)).join(", ")}]`;
  const of = typeText(api, schema.items ?? true, depth + 1);
  return of.includes(" | ") ? `(${of})[]` : `${of}[]`;
}

const isObject = (api: OpenApi, schema: Schema): boolean => fieldsOf(api, schema).length > 0;

export interface Field {
  name: string;
  required: boolean;
  schema: Schema;
}

/** The fields of an object, with those of all that it is made of; those that must be given first. */
export function fieldsOf(api: OpenApi, given: Schema, depth = 0): Field[] {
  if (depth > DEPTH_MAX) return [];
  const schema = resolved(api, given);
  const own = Object.entries(schema.properties ?? {}).map(([name, value]) => ({
    name,
    required: schema.required?.includes(name) ?? false,
    schema: typeof value === "boolean" ? {} : value,
  }));
  const parts = (schema.allOf ?? []).flatMap((part) => fieldsOf(api, part, depth + 1));
  const fields = [...new Map([...parts, ...own].map((field) => [field.name, field])).values()];
  return fields.sort((a, b) => Number(b.required) - Number(a.required));
}

export interface Inner {
  /** Its name in the description, or what it is one of. */
  name: string;
  schema: Schema;
}

/** The objects with fields that a value may be or hold, through lists and alternatives. */
export function innerOf(api: OpenApi, given: Schema | boolean, depth = 0): Inner[] {
  if (typeof given === "boolean" || depth > DEPTH_MAX) return [];
  const schema = resolved(api, given);
  const { schemas } = variantsOf(api, schema);
  const within = [
    ...schemas,
    ...(schema.prefixItems ?? []),
    ...[schema.items, schema.additionalProperties].filter((one) => typeof one === "object"),
  ];
  const own = isObject(api, schema)
    ? [{ name: schema.named ?? schema.title ?? constantOf(api, schema), schema }]
    : [];
  const all = [...own, ...within.flatMap((one) => innerOf(api, one, depth + 1))];
  return [
    ...new Map(all.map((inner) => [inner.name + JSON.stringify(Object.keys(inner.schema)), inner])).values(),
  ];
}

/** What tells one alternative without a name from the others: its fields of one value only. */
function constantOf(api: OpenApi, schema: Schema): string {
  const constants = fieldsOf(api, schema).flatMap(({ name, schema: of }) => {
    const [value, ...more] = valuesOf(api, of);
    return value === undefined || more.length > 0 ? [] : [`${name}: ${value}`];
  });
  return constants.length > 0 ? `{ ${constants.join(", ")} }` : "object";
}

/** The values that are allowed, where they are counted. */
export function valuesOf(api: OpenApi, given: Schema): string[] {
  const schema = resolved(api, given);
  if (schema.const !== undefined) return [JSON.stringify(schema.const)];
  if (schema.enum !== undefined)
    return schema.enum.filter((value) => value !== null).map((value) => JSON.stringify(value));
  const { schemas } = variantsOf(api, schema);
  if (schemas.length === 0) return [];
  const values = schemas.map((one) => valuesOf(api, one));
  return values.every((some) => some.length > 0) ? values.flat() : [];
}

/** What else a value keeps to, in short: `≥ 0`, `≤ 2`, `int64`. */
export function boundsOf(api: OpenApi, given: Schema): string[] {
  const schema = resolved(api, given);
  const bounds = [
    schema.format,
    schema.minimum !== undefined && `≥ ${schema.minimum}`,
    schema.maximum !== undefined && `≤ ${schema.maximum}`,
    schema.minLength !== undefined && `length ≥ ${schema.minLength}`,
    schema.maxLength !== undefined && `length ≤ ${schema.maxLength}`,
    schema.minItems !== undefined && `items ≥ ${schema.minItems}`,
    schema.maxItems !== undefined && `items ≤ ${schema.maxItems}`,
    schema.pattern,
    schema.default !== undefined && schema.default !== null && `= ${JSON.stringify(schema.default)}`,
  ];
  return bounds.filter((bound) => typeof bound === "string");
}

export const describedBy = (api: OpenApi, schema: Schema): string => resolved(api, schema).description ?? "";

/** The name under which the description has a schema. */
export const schemaName = (api: OpenApi, schema: Schema): string | undefined => resolved(api, schema).named;

// --- examples ---

/** What stands in the place of texts whose meaning is known everywhere. */
const WORDS: Readonly<Record<string, Json>> = {
  model: "smollm2-135m",
  role: "user",
  content: "Hello!",
  prompt: "Hello!",
  input: "Hello!",
  max_tokens: 100,
};

/** A value that a schema allows: what must be there, and no more. */
export function exampleOf(api: OpenApi, given: Schema | boolean, name = "", depth = 0): Json {
  if (typeof given === "boolean" || depth > DEPTH_MAX) return null;
  const schema = resolved(api, given);
  const told = schema.example ?? schema.examples?.[0] ?? schema.const ?? schema.default;
  if (told !== undefined && told !== null) return told;
  const word = Object.hasOwn(WORDS, name) ? WORDS[name] : undefined;
  const allowed: readonly Json[] = schema.enum?.filter((value) => value !== null) ?? [];
  if (allowed[0] !== undefined) return word !== undefined && allowed.includes(word) ? word : allowed[0];
  const fields = fieldsOf(api, schema);
  if (fields.length > 0) {
    const needed = fields.filter(({ required }) => required);
    return Object.fromEntries(
      needed.map((field) => [field.name, exampleOf(api, field.schema, field.name, depth + 1)]),
    );
  }
  const variants = variantsOf(api, schema).schemas;
  if (word !== undefined && mayBe(api, schema, typeof word)) return word;
  if (variants[0] !== undefined) return exampleOf(api, variants[0], name, depth + 1);
  return plainExample(api, schema, depth);
}

const mayBe = (api: OpenApi, schema: Schema, type: string): boolean =>
  typeText(api, schema)
    .split(" | ")
    .some((one) => one === type || (type === "number" && one === "integer"));

function plainExample(api: OpenApi, schema: Schema, depth: number): Json {
  switch (typesOf(schema).find((type) => type !== "null")) {
    case "array":
      return schema.items === undefined ? [] : [exampleOf(api, schema.items, "", depth + 1)];
    case "integer":
    case "number":
      return Math.max(1, schema.minimum ?? 1);
    case "boolean":
      return false;
    case "object":
      return {};
    default:
      return "…";
  }
}

/** A command that asks for an operation. Those of the web app want its cookie, and have none. */
export function curlOf(api: OpenApi, { method, path, body }: Endpoint, origin: string): string | null {
  if (path.startsWith("/api/")) return null;
  const lines = [`curl ${method === "GET" ? "" : `-X ${method} `}'${origin}${path}'`];
  lines.push(`-H "Authorization: Bearer $CACHALOT_KEY"`);
  const json = body?.media.find(({ type }) => type === "application/json");
  if (json !== undefined) {
    const example = json.example ?? exampleOf(api, json.schema);
    lines.push(`-H 'Content-Type: application/json'`);
    lines.push(`-d '${JSON.stringify(example, null, 2).replaceAll("'", "'\\''")}'`);
  }
  return lines.join(" \\\n  ");
}

// --- operations ---

interface Content {
  type: string;
  schema: Schema;
  example?: Json;
}

interface Body {
  required: boolean;
  description: string;
  media: Content[];
}

export interface Endpoint {
  /** Method and path. */
  id: string;
  method: string;
  path: string;
  summary: string;
  description: string;
  deprecated: boolean;
  parameters: (Field & { place: string; description: string })[];
  body: Body | null;
  responses: (Omit<Body, "required"> & { status: string })[];
}

export interface Group {
  name: string;
  description: string;
  endpoints: Endpoint[];
}

const contentsOf = ({ content = {} }: Described): Content[] =>
  Object.entries(content).map(([type, { schema, example }]) => ({
    type,
    schema: schema ?? {},
    ...(example === undefined ? {} : { example }),
  }));

function endpointOf(api: OpenApi, method: string, path: string, shared: unknown, given: Operation): Endpoint {
  const all = [...(Array.isArray(shared) ? (shared as Parameter[]) : []), ...(given.parameters ?? [])];
  const body = given.requestBody === undefined ? null : resolved(api, given.requestBody);
  return {
    id: `${method} ${path}`,
    method: method.toUpperCase(),
    path,
    summary: given.summary ?? "",
    description: given.description ?? "",
    deprecated: given.deprecated ?? false,
    parameters: all.map((one) => {
      const {
        name = "",
        in: place = "query",
        required = false,
        description = "",
        schema = {},
      } = resolved(api, one);
      return { name, place, required, description, schema };
    }),
    body:
      body === null
        ? null
        : { required: body.required ?? false, description: body.description ?? "", media: contentsOf(body) },
    responses: Object.entries(given.responses ?? {}).map(([status, one]) => {
      const response = resolved(api, one);
      return { status, description: response.description ?? "", media: contentsOf(response) };
    }),
  };
}

/** All that can be asked, by tag, in the order of the description's tags. */
export function groupsOf(api: OpenApi): Group[] {
  const groups = new Map<string, Group>();
  for (const { name, description = "" } of api.tags ?? [])
    groups.set(name, { name, description, endpoints: [] });
  for (const [path, item] of Object.entries(api.paths ?? {})) {
    for (const method of METHODS) {
      const given = item[method] as Operation | undefined;
      if (given === undefined) continue;
      const tag = given.tags?.[0] ?? "";
      const group = groups.get(tag) ?? { name: tag, description: "", endpoints: [] };
      groups.set(tag, group);
      group.endpoints.push(endpointOf(api, method, path, item["parameters"], given));
    }
  }
  return [...groups.values()].filter(({ endpoints }) => endpoints.length > 0);
}

/** What all words of a text occur in: the tag, the method, the path, or what is said of it. */
export function filtered(groups: readonly Group[], text: string): Group[] {
  const words = text
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "");
  const fits = (group: Group, { method, path, summary, description }: Endpoint) => {
    const all = [group.name, method, path, summary, description].join(" ").toLowerCase();
    return words.every((word) => all.includes(word));
  };
  return groups
    .map((group) => ({ ...group, endpoints: group.endpoints.filter((endpoint) => fits(group, endpoint)) }))
    .filter(({ endpoints }) => endpoints.length > 0);
}
