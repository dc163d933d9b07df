import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js";
import { expect, inject } from "vitest";
import type { Schema } from "../../dev/openapi/schemas.ts";
import { cors } from "../../lib/api/cors.ts";
import type { Route } from "../../lib/api/route.ts";

const reference = inject("openapi");
for (const schema of Object.values(reference.components.schemas)) close(schema);

const ajv = new Ajv2020({
  strict: false,
  validateSchema: false,
  allErrors: true,
  formats: {
    uri: true,
    binary: true,
    "date-time": /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$/,
    uuid: /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/,
  },
});
ajv.addSchema(reference, "reference");
const validators = new Map<string, ValidateFunction>();

/** The headers that an app can read, and those that a client acts upon by itself. */
const headerNames = [...cors.exposeHeaders, "www-authenticate", "allow"];

/** An answer of a function. */
interface Answer {
  status: number;
  headers: Record<string, string>;
  /** Parsed, if it is JSON; bytes, if it is no text. */
  body: unknown;
}

/** Holds an answer against the reference. It has no status, no header and no field that the reference does not name. */
export function checkAgainstReference({ name, path, method }: Route, { status, headers, body }: Answer): void {
  const answers = reference.paths[path]?.[method.toLowerCase()]?.responses;
  if (!answers) {
    // $default, whose 200 is for preflights and HEAD.
    if (status !== 200) check(`${name} ${status}`, "components/schemas/ErrorAnswer", body);
    return;
  }

  expect(Object.keys(answers), `${name}: the statuses of the reference`).toContain(String(status));
  const known = Object.keys(answers[status]?.headers ?? {}).map((header) => header.toLowerCase());
  const unknown = Object.keys(headers).filter((header) => headerNames.includes(header) && !known.includes(header));
  expect(unknown, `${name} ${status}: headers that the reference does not name`).toEqual([]);
  if (!answers[status]?.content) {
    expect(body, `${name} ${status}: a body`).toBe("");
    return;
  }
  const type = headers["content-type"]?.replace(/;.*/, "") ?? "";
  expect(Object.keys(answers[status].content), `${name} ${status}: its media type`).toContain(type);
  const pointer = ["paths", path, method.toLowerCase(), "responses", status, "content", type, "schema"];
  check(`${name} ${status}`, pointer.map((part) => String(part).replaceAll("/", "~1")).join("/"), body);
}

function check(what: string, pointer: string, body: unknown): void {
  const validate = validators.get(pointer) ?? ajv.compile({ $ref: `reference#/${pointer}` });
  validators.set(pointer, validate);
  validate(Buffer.isBuffer(body) ? "" : body);
  expect(validate.errors ?? [], `${what}: what the reference says otherwise`).toEqual([]);
}

/** The reference leaves answers open for fields to come. Here each field must be in the reference. */
function close(schema: Schema): void {
  if (schema.properties) schema.additionalProperties ??= false;
  for (const part of Object.values(schema).flat()) if (typeof part === "object" && part !== null) close(part as Schema);
}
