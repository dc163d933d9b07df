import { isUtf8 } from "node:buffer";
import jsonBodyParser from "@middy/http-json-body-parser";
import type * as z from "zod";
import type { ChatRequest, Rule } from "../chain.ts";
import { ApiError, type FieldError } from "../errors.ts";
import type { Progress, Route } from "../route.ts";

const maxBodyBytes = 262_144;
/** Of a body made of nothing but mistakes the answer must not be larger than the question. */
const maxProblems = 100;
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
      if (problems.length > 0) throw new ApiError("VALIDATION_ERROR", { errors: problems.slice(0, maxProblems) });

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
  try {
    // An empty body and an absent one are the same mistake.
    if (!event.body || !isText(event.body, event.isBase64Encoded))
      throw Object.assign(new Error(), { statusCode: 422 });
    parser.before?.(request as never);
    return { json: event.body };
  } catch (error) {
    // The parser's own error carries the whole body: it must not become a cause, which is logged.
    const isType = (error as { statusCode?: unknown }).statusCode === 415;
    problems.push(
      isType
        ? { field: "headers.content-type", message: "Must be application/json" }
        : { field: "body", message: "Must be a JSON object" },
    );
    return undefined;
  }
}

function check(schema: z.ZodType | undefined, input: unknown, place: string, problems: FieldError[]): unknown {
  const result = schema?.safeParse(input);
  if (!result || result.success) return result?.data;
  for (const { path, message } of result.error.issues) {
    problems.push({ field: [place, ...path.map((part) => shown(String(part)))].join("."), message });
  }
  return undefined;
}

/** A key that the caller chose, in an answer: short, and without anything that a log or a terminal would act on. */
function shown(part: string): string {
  return part.slice(0, 64).replace(/[^\x20-\x7e]/g, "?");
}

/** JSON is UTF-8. Decoded all the same, other bytes would be stored as replacement characters. */
function isText(body: string, isBase64: boolean): boolean {
  return !isBase64 || isUtf8(Buffer.from(body, "base64"));
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
