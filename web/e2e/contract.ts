import { readFileSync } from "node:fs";
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";

/** Holds what is asked and answered to the server's description of its API. */

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Fields = { [name: string]: Json };

interface Operation {
  requestBody?: { content: Record<string, { schema: Fields }> };
  responses: Record<string, { content?: Record<string, { schema: Fields }> }>;
}

const JSON_TYPE = "application/json";

const isObject = (json: Json | undefined): json is Fields =>
  typeof json === "object" && json !== null && !Array.isArray(json);

/** Lets objects whose fields are known have no others. */
function close(json: Json): void {
  if (Array.isArray(json)) json.forEach(close);
  if (!isObject(json)) return;
  if (isObject(json["properties"]) && json["type"] === "object") json["additionalProperties"] ??= false;
  Object.values(json).forEach(close);
}

export class Contract {
  readonly #paths: Record<string, Record<string, Operation>>;
  readonly #components: Fields;
  readonly #ajv = new Ajv2020({ strict: false, validateFormats: false, allErrors: true });
  readonly #validators = new WeakMap<Fields, ValidateFunction>();

  constructor(path: URL) {
    const document = JSON.parse(readFileSync(path, "utf8")) as Fields;
    close(document);
    this.#paths = document["paths"] as unknown as Record<string, Record<string, Operation>>;
    this.#components = document["components"] as Fields;
  }

  /** What is wrong with an answer, or with a request that was taken; empty if nothing is. */
  wrongs(method: string, path: string, sent: unknown, status: number, answer: unknown): string[] {
    const operation = this.#operation(method, path);
    if (operation === undefined) return ["there is no such operation"];
    const known = operation.responses[status] ?? (status < 400 ? undefined : operation.responses["default"]);
    if (known === undefined) return [`it never answers ${status}`];
    const wrongs: string[] = [];
    const takes = operation.requestBody?.content[JSON_TYPE]?.schema;
    if (status < 300 && takes !== undefined) wrongs.push(...this.#invalid("sent", takes, sent));
    const gives = known.content?.[JSON_TYPE]?.schema;
    if (gives !== undefined) wrongs.push(...this.#invalid("answered", gives, answer));
    else if (answer !== undefined && known.content === undefined) wrongs.push("it has no body");
    return wrongs;
  }

  #operation(method: string, path: string): Operation | undefined {
    const given = path.split("/");
    const fits = (template: string): boolean => {
      const parts = template.split("/");
      return (
        parts.length === given.length &&
        parts.every((part, index) => part === given[index] || part.startsWith("{"))
      );
    };
    const holes = (template: string): number => template.split("{").length;
    const fitting = Object.keys(this.#paths).filter(
      (template) => fits(template) && this.#paths[template]?.[method.toLowerCase()] !== undefined,
    );
    // `/passkeys/options` is not a passkey.
    const [nearest] = fitting.sort((a, b) => holes(a) - holes(b));
    return nearest === undefined ? undefined : this.#paths[nearest]?.[method.toLowerCase()];
  }

  #invalid(what: string, schema: Fields, json: unknown): string[] {
    const validate =
      this.#validators.get(schema) ?? this.#ajv.compile({ ...schema, components: this.#components });
    this.#validators.set(schema, validate);
    if (validate(json)) return [];
    return (validate.errors ?? []).map(
      ({ instancePath, message, params }) => `${what}${instancePath}: ${message} ${JSON.stringify(params)}`,
    );
  }
}
