import * as z from "zod";
import type { Route } from "../../lib/api/route.ts";
import { routes } from "../../lib/api/routes.ts";
import { RetellEvent } from "../../lib/retell/webhook.ts";
import { answersOf, examples, headers } from "./answers.ts";
import { success } from "./envelope.ts";
import { headerParameters, parametersOf } from "./parameters.ts";
import { basics, proseOn } from "./prose.ts";
import { convert, nameOf, reference, type Schema, type Schemas } from "./schemas.ts";

/** An OpenAPI 3.1 document, as far as its readers here need its shape. */
export interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Schemas; [kind: string]: object };
  [field: string]: unknown;
}

export interface Operation {
  operationId: string;
  responses: Record<string, { headers: object; content?: Record<string, { schema: Schema }> }>;
  [field: string]: unknown;
}

/** Every route but `$default`, which answers for all paths that are not described. */
const described = Object.values<Route>(routes).filter(({ path }) => path !== "$default");

/** The schema of a success in JSON, and its component's name. */
function answerOf(route: Route): [name: string, schema: z.ZodType] {
  const schema = route.isBare ? route.data : success(route);
  return [nameOf(schema, `${capitalized(route.name)}Answer`), schema];
}

const bodyOf = (route: Route) => (route.signed ? RetellEvent : route.body);
/** `ExportsCreate` for `exports-create`. */
const capitalized = (name: string) => name.replace(/(?:^|-)(.)/g, (_dash, first: string) => first.toUpperCase());

/** The description of the API, made of the route table and its schemas. */
export function openapi(): Document {
  const requests: Record<string, z.ZodType> = {};
  const answers: Record<string, z.ZodType> = {};
  for (const route of described) {
    for (const [part, schema] of Object.entries({ Params: route.params, Query: route.query, Body: bodyOf(route) })) {
      if (schema) requests[nameOf(schema, capitalized(route.name) + part)] = schema;
    }
    const [name, schema] = answerOf(route);
    answers[name] = schema;
  }
  const asked = convert(requests, "input");
  const answered = convert(answers, "output");
  const schemas = {
    ...asked,
    ...answered,
    ...Object.fromEntries(Object.keys(requests).map((name) => [name, asked[name] ?? {}])),
  };

  const paths: Document["paths"] = {};
  for (const route of described) {
    const parameters = parametersOf(
      route,
      (schema, part) => schemas[nameOf(schema, capitalized(route.name) + part)] ?? {},
    );
    const operation = operationOf(route, parameters);
    const methods = {
      [route.method.toLowerCase()]: operation,
      ...(route.answersHead ? { head: headOf(operation) } : {}),
    };
    paths[route.path] = { ...paths[route.path], ...methods };
  }
  const document: Document = {
    openapi: "3.1.1",
    info: {
      title: "ScalAI Chat",
      version: "1.0.0",
      summary: "Chats with Retell AI's text agents, for web and mobile apps",
      description: `Fields and codes are added, never removed, and their meaning does not change. A client ignores fields that it does not know.\n\n${basics}`,
      license: { name: "Proprietary", identifier: "LicenseRef-Proprietary" },
    },
    servers: [{ url: "/", description: "The deployment that serves this document" }],
    tags,
    paths,
    components: { securitySchemes, parameters: headerParameters, headers, examples, schemas },
  };
  return withoutUnused(document);
}

const tags = [
  { name: "Chats", description: "What apps call. Every request needs a token" },
  { name: "Retell", description: "What Retell calls" },
  { name: "Service", description: "About the API itself" },
];

const tagOf = ({ permission, signed }: Route) => (permission ? "Chats" : signed ? "Retell" : "Service");

const securitySchemes = {
  token: {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description:
      "A JWT, signed with HS256, or with RS256, ES256 or EdDSA by a key of the configured key set. Its claims are `id` (or `sub`), `role` and `exp`",
  },
  signature: {
    type: "apiKey",
    in: "header",
    name: "X-Retell-Signature",
    description: "Retell's signature over the body, not older than five minutes",
  },
};

function securityOf({ permission, signed }: Route): object[] {
  if (permission) return [{ token: [] }];
  return signed ? [{ signature: [] }] : [];
}

function operationOf(route: Route, parameters: object[]): Operation {
  const { name, summary, permission, limit } = route;
  const body = bodyOf(route);
  const [answer] = answerOf(route);
  return {
    operationId: name,
    summary,
    description: [proseOn(name), notesOn(route)].filter((text) => text !== "").join("\n\n"),
    tags: [tagOf(route)],
    security: securityOf(route),
    ...(permission ? { "x-permission": permission } : {}),
    ...(limit ? { "x-rate-limit": { ...limit, per: "subaccount" } } : {}),
    parameters,
    ...(body ? { requestBody: requestBody(nameOf(body, `${capitalized(name)}Body`)) } : {}),
    responses: answersOf(route, reference(answer), linksOf(route)) as Operation["responses"],
  };
}

const requestBody = (name: string) => ({
  required: true,
  description: "JSON in UTF-8, uncompressed",
  content: { "application/json": { schema: reference(name) } },
});

function notesOn({ permission, limit, signed }: Route): string {
  if (signed) return "Needs Retell's signature over the body. There is no limit.";
  if (!permission || !limit) return "Needs no token. There is no limit.";
  return `Needs the permission ${permission}. At most ${limit.requests} requests per ${limit.perSeconds} s and subaccount.`;
}

function headOf({ operationId, responses, ...operation }: Operation): Operation {
  const bodiless = Object.entries(responses).map(([status, { content: _none, ...answer }]) => [status, answer]);
  return { ...operation, operationId: `${operationId}Head`, responses: Object.fromEntries(bodiless) };
}

/** Whoever has the id of a chat or an export from this answer can call the routes that need one. */
function linksOf({ path, data }: Route): object {
  const [isList, one] = data instanceof z.ZodArray ? [true, data.element] : [false, data];
  const ids = { chatId: "chat_id", exportId: "export_id" };
  const known = Object.entries(ids).find(([, field]) => one instanceof z.ZodObject && field in one.shape);
  if (!known || Object.keys(ids).some((id) => path.includes(`{${id}}`))) return {};
  const [id, field] = known;
  const targets = described.filter((target) => target.path.includes(`{${id}}`) && (!isList || target.method === "GET"));
  const parameters = {
    "path.subaccountId": "$request.path.subaccountId",
    [`path.${id}`]: `$response.body#/data/${isList ? "0/" : ""}${field}`,
  };
  return Object.fromEntries(targets.map(({ name }) => [name, { operationId: name, parameters }]));
}

/** Leaves out the components that nothing refers to. */
function withoutUnused(document: Document): Document {
  const { schemas } = document.components;
  const used = new Set<string>();
  const visit = (value: unknown): void => {
    for (const [, name = ""] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
      if (used.has(name)) continue;
      used.add(name);
      visit(schemas[name]);
    }
  };
  visit(document.paths);
  const kept = Object.entries(schemas).filter(([name]) => used.has(name));
  return { ...document, components: { ...document.components, schemas: Object.fromEntries(kept.sort()) } };
}
