import type * as z from "zod";
import type { Route } from "../../lib/api/route.ts";
import type { Schema } from "./schemas.ts";

/** Request headers, by their component's name. */
export const headerParameters = {
  IdempotencyKey: {
    name: "Idempotency-Key",
    in: "header",
    description:
      "Makes the request safe to repeat: with the same key it is done once. Visible ASCII; a key that holds a comma must be quoted",
    schema: { type: "string", pattern: "^[\\x21\\x23-\\x2b\\x2d-\\x7e]{1,255}$" },
    example: "5f3c0a58-send-17",
  },
  XOperationId: {
    name: "X-Operation-Id",
    in: "header",
    description: "A UUID that identifies the request in the logs. Absent, or no UUID: the API makes one",
    schema: { type: "string", format: "uuid" },
    example: "58c6f541-689d-487f-87fb-eb7fa4f1bc66",
  },
  IfNoneMatch: {
    name: "If-None-Match",
    in: "header",
    description: "The ETag of the answer that the client has. If it is current, the answer is 304 without a body",
    schema: { type: "string" },
    example: '"pT4bB0rX5cWc2mEo"',
  },
  AcceptEncoding: {
    name: "Accept-Encoding",
    in: "header",
    description: "`gzip` compresses answers over 1 kB. Browsers send it by themselves",
    schema: { type: "string" },
    example: "gzip",
  },
};

const component = (name: keyof typeof headerParameters) => ({ $ref: `#/components/parameters/${name}` });

/** A route's parameters. `schemaOf` gives the JSON Schema of its path and of its query. */
export function parametersOf(
  route: Route,
  schemaOf: (schema: z.ZodType, part: "Params" | "Query") => Schema,
): object[] {
  const { params, query, permission, idempotent, hasEtag } = route;
  return [
    ...(params ? parametersIn("path", schemaOf(params, "Params")) : []),
    ...(query ? parametersIn("query", schemaOf(query, "Query")) : []),
    ...(idempotent ? [component("IdempotencyKey")] : []),
    ...(hasEtag ? [component("IfNoneMatch")] : []),
    ...(permission ? [component("XOperationId"), component("AcceptEncoding")] : []),
  ];
}

function parametersIn(place: "path" | "query", { properties = {}, required = [] }: Schema): object[] {
  return Object.entries(properties).map(([name, { description, example, ...schema }]) => ({
    name,
    in: place,
    ...(required.includes(name) ? { required: true } : {}),
    ...(description === undefined ? {} : { description }),
    schema,
    ...(example === undefined ? {} : { example }),
  }));
}
