import * as z from "zod";
import * as exported from "../../lib/chat/export/schema.ts";
import * as wire from "../../lib/chat/schema.ts";
import { RetellEvent } from "../../lib/retell/webhook.ts";
import * as envelope from "./envelope.ts";

/** A JSON Schema of draft 2020-12, which OpenAPI 3.1 uses. */
export interface Schema {
  [keyword: string]: unknown;
  properties?: Record<string, Schema>;
  required?: string[];
}

/** Schemas by the names of their components. */
export type Schemas = Record<string, Schema>;

/** Of a request, what zod takes; of an answer, what it gives. */
type Direction = "input" | "output";

/** A schema becomes a component by the name under which it is exported. */
const named = new Map(
  Object.entries({ ...wire, ...exported, ...envelope, RetellEvent }).flatMap(([name, schema]) =>
    schema instanceof z.ZodType ? [[schema as z.ZodType, name] as const] : [],
  ),
);

/** The name of a schema's component: the one that it is exported by, or else the given one. */
export const nameOf = (schema: z.ZodType, otherwise: string) => named.get(schema) ?? otherwise;

export const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });

/**
 * Converts schemas with those that they contain.
 *
 * Answers are open objects, because fields are only ever added. Requests are closed, so that whoever checks a request
 * before sending it finds a misspelt field. The API itself ignores unknown fields.
 */
export function convert(schemas: Record<string, z.ZodType>, io: Direction): Schemas {
  const registry = z.registry<{ id: string }>();
  for (const [schema, id] of named) registry.add(schema, { id });
  for (const [id, schema] of Object.entries(schemas)) if (!named.has(schema)) registry.add(schema, { id });
  const { schemas: converted } = z.toJSONSchema(registry, {
    io,
    unrepresentable: "any",
    uri: (id) => reference(id).$ref,
    override: ({ zodSchema, jsonSchema }) => simplify(zodSchema._zod.def, jsonSchema as Schema, io),
  });
  const all = Object.entries(converted as Schemas);
  return Object.fromEntries(all.map(([name, { $schema, $id, ...schema }]) => [name, schema]));
}

function simplify(def: z.core.$ZodTypeDef, schema: Schema, io: Direction): void {
  if (io === "output") {
    if (schema.additionalProperties === false) delete schema.additionalProperties;
    if (schema.minimum === Number.MIN_SAFE_INTEGER) delete schema.minimum;
    if (schema.maximum === Number.MAX_SAFE_INTEGER) delete schema.maximum;
  } else {
    if (Object.keys(schema.properties ?? {}).length > 0) schema.additionalProperties ??= false;
    // zod leaves it out where the input is transformed.
    if (def.type === "default" && "defaultValue" in def) schema.default = def.defaultValue;
  }
  // The number in a query is a text for zod; its `meta` says that it is an integer.
  if (schema.type === "integer" || schema.format === "date-time") delete schema.pattern;
  if (JSON.stringify(schema.propertyNames) === '{"type":"string"}') delete schema.propertyNames;
}
