import { isUtf8 } from "node:buffer";
import jsonBodyParser from "@middy/http-json-body-parser";
import type * as z from "zod";
import type { ChatRequest, Rule } from "../chain.ts";
import { ApiError, type FieldError, maxErrors } from "../errors.ts";
import { type Member, members, parseJson, pathOf } from "../json.ts";
import type { Progress, Route } from "../route.ts";

const maxBodyBytes = 262_144;
const maxFieldLength = 200;
/** So deep is what is wrong with a body searched for: the parser takes some 2,500, by the stack that it has. */
const maxLevels = 1_000;
/** Visible ASCII: what a header can carry without two ways to read it. */
const idempotencyKey = /^[\x21-\x7e]{1,255}$/;

/** Path, query and body through the route's schemas. Everything that is wrong is said at once. */
export function validate(route: Route): Rule {
  const parser = jsonBodyParser();
  return {
    before: (request) => {
      const { event, internal } = request;
      const problems: FieldError[] = [];

      if (bodyBytes(event.body, event.isBase64Encoded) > maxBodyBytes) throw new ApiError("PAYLOAD_TOO_LARGE");
      const body = route.body ? readBody(request, parser, problems) : undefined;

      const parsed = {
        params: check(route.params, event.pathParameters ?? {}, "params", problems),
        query: check(route.query, event.queryStringParameters ?? {}, "query", problems),
        body: body && check(route.body, body.json, "body", problems),
      };
      const key = event.headers?.["idempotency-key"];
      if (route.method === "POST" && key !== undefined) {
        if (idempotencyKey.test(key)) internal.progress.key = key;
        else problems.push({ field: "headers.idempotency-key", message: "Must be 1 to 255 visible ASCII characters" });
      }
      if (problems.length > 0) throw new ApiError("VALIDATION_ERROR", { errors: problems.slice(0, maxErrors) });

      Object.assign(internal.progress, parsed);
      Object.assign(internal.progress.log.fields, named(internal.progress));
    },
  };
}

/** The parsed JSON in a box, since null is JSON too; undefined when there is none, and then that is a problem noted. */
function readBody(
  request: ChatRequest,
  parser: ReturnType<typeof jsonBodyParser>,
  problems: FieldError[],
): { json: unknown } | undefined {
  const { event } = request;
  const text = textOf(event.body, event.isBase64Encoded);
  try {
    // An empty body and an absent one are the same mistake.
    if (!text) throw Object.assign(new Error(), { statusCode: 422 });
    parser.before?.(request as never);
    return { json: event.body };
  } catch (error) {
    // The parser's own error carries the whole body: it must not become a cause, which is logged.
    const isType = (error as { statusCode?: unknown }).statusCode === 415;
    if (isType) problems.push({ field: "headers.content-type", message: "Must be application/json" });
    else problems.push(...refusals(text));
    return undefined;
  }
}

/** Why the parser did not take a text. Of JSON it refuses what could change a prototype, and deep nesting: its stack. */
function refusals(text: string | undefined): FieldError[] {
  const json = parseJson(text);
  if (json === undefined) return [{ field: "body", message: "Must be a JSON object" }];
  const problems: FieldError[] = [];
  for (const member of members(json)) {
    if (member.level > maxLevels || problems.length === maxErrors) break;
    if (!reachesPrototypes(member)) continue;
    const message = "The name: Must not be __proto__, nor constructor with a prototype inside";
    problems.push({ field: fieldOf("body", pathOf(member)), message });
  }
  return problems.length > 0 ? problems : [{ field: "body", message: "Must be nested less deeply" }];
}

function reachesPrototypes({ name, value }: Member): boolean {
  if (name === "__proto__") return true;
  return name === "constructor" && typeof value === "object" && value !== null && Object.hasOwn(value, "prototype");
}

function check(schema: z.ZodType | undefined, input: unknown, place: string, problems: FieldError[]): unknown {
  const result = schema?.safeParse(input);
  if (!result || result.success) return result?.data;
  for (const issue of result.error.issues) {
    const field = fieldOf(place, issue.path.map(String));
    // Of a name zod itself says only that it is a bad one.
    if (issue.code !== "invalid_key") problems.push({ field, message: issue.message });
    else problems.push(...issue.issues.map(({ message }) => ({ field, message: `The name: ${message}` })));
  }
  return undefined;
}

/** Names that the caller chose, in an answer: short, and without anything that a log or a terminal would act on. */
function fieldOf(place: string, path: string[]): string {
  const names = path.slice(0, maxFieldLength).map((name) => name.slice(0, 64).replace(/[^\x20-\x7e]/g, "?"));
  return [place, ...names].join(".").slice(0, maxFieldLength);
}

/** JSON is UTF-8. Decoded all the same, other bytes would be stored as replacement characters: undefined. */
function textOf(body: string | undefined, isBase64: boolean): string | undefined {
  if (!body || !isBase64) return body;
  const bytes = Buffer.from(body, "base64");
  return isUtf8(bytes) ? bytes.toString() : undefined;
}

function bodyBytes(body: string | undefined, isBase64: boolean): number {
  return body === undefined ? 0 : Buffer.byteLength(body, isBase64 ? "base64" : "utf8");
}

/** What of the input stands in the log: ids, and nothing else. */
function named({ params, body }: Progress): Record<string, string> {
  const agentId = (body as { agentId?: unknown } | undefined)?.agentId;
  return {
    ...(params ? { subaccountId: params.subaccountId } : {}),
    ...(params?.chatId ? { chatId: params.chatId } : {}),
    ...(typeof agentId === "string" ? { agentId } : {}),
  };
}
