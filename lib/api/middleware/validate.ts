import { isUtf8 } from "node:buffer";
import jsonBodyParser from "@middy/http-json-body-parser";
import type * as z from "zod";
import { ApiError, type FieldError, maxErrors } from "../../platform/errors.ts";
import { type Member, members, parseJson, pathOf, withoutBom, withSources } from "../../platform/json.ts";
import type { ChatRequest, Middleware, RequestState } from "../call.ts";
import { headerOf, isJsonType, unquote, valuesOf } from "../headers.ts";
import type { Route } from "../route.ts";
import { enforce } from "./limit.ts";

const maxBodyBytes = 262_144;
const maxFieldLength = 200;
/** How deep a refused body is searched for its errors. The parser accepts some 2,500 levels, depending on its stack. */
const maxLevels = 1_000;
/** Visible ASCII, which every client and proxy reads in the same way. */
const idempotencyKey = /^[\x21-\x7e]{1,255}$/;
const severalValues = "Must have one value. Several lines, or a comma outside of quotes, are several";

/** Parses path, query, body and headers by the route's schemas, and reports all errors at once. */
export function validate(route: Route): Middleware {
  const parser = jsonBodyParser({ disableContentTypeCheck: true });
  return {
    before: async (request) => {
      const { event, internal } = request;
      const problems: FieldError[] = [];
      /** The user's limit is enforced first. */
      const refuse = async (error: ApiError): Promise<never> => {
        if (internal.state.counts) enforce(internal.state, await internal.state.counts.user, "user");
        throw error;
      };

      if (bodyBytes(event.body, event.isBase64Encoded) > maxBodyBytes) await refuse(new ApiError("PAYLOAD_TOO_LARGE"));
      const body = route.body ? readBody(request, parser, problems) : undefined;

      const parsed = {
        params: parseWith(route.params, event.pathParameters ?? {}, "path", problems),
        query: parseWith(route.query, queryOf(event), "query", problems),
        body: body && parseWith(route.body, body.json, "body", problems),
      };
      if (valuesOf(event, "x-operation-id", { normalize: (id) => id.toLowerCase() }).length > 1) {
        problems.push({ field: "x-operation-id", in: "header", message: severalValues });
      }
      if (route.method === "POST" && headerOf(event, "idempotency-key") !== undefined) {
        const keys = valuesOf(event, "idempotency-key", { normalize: unquote });
        const [key = ""] = keys;
        const wrong = keys.length > 1 ? severalValues : "Must be 1 to 255 visible ASCII characters";
        if (keys.length === 1 && idempotencyKey.test(key)) internal.state.key = key;
        else problems.push({ field: "idempotency-key", in: "header", message: wrong });
      }
      if (problems.length > 0) {
        await refuse(new ApiError("VALIDATION_ERROR", { errors: problems.slice(0, maxErrors) }));
      }

      Object.assign(internal.state, parsed);
      Object.assign(internal.state.log.fields, pathFields(internal.state));
    },
  };
}

/** The parsed JSON, in an object because null is JSON too; undefined when there is none. Then a problem is added. */
function readBody(
  request: ChatRequest,
  parser: ReturnType<typeof jsonBodyParser>,
  problems: FieldError[],
): { json: unknown } | undefined {
  const { event } = request;
  const text = textOf(event.body, event.isBase64Encoded);
  const types = valuesOf(event, "content-type");
  // Of an empty body, the missing type is not reported: the missing body is.
  if (text !== "" && (types.length === 0 || !types.every(isJsonType))) {
    problems.push({ field: "content-type", in: "header", message: "Must be application/json" });
    return undefined;
  }
  try {
    Object.assign(event, { body: text && withoutBom(text), isBase64Encoded: false });
    parser.before?.(request as never); // typed for its own event; it uses only the body
    return { json: withSources(event.body, text ?? "") };
  } catch {
    // The parser's error contains the whole body. It must not become a cause, because causes are logged.
    problems.push(...bodyProblems(text));
    return undefined;
  }
}

/** Why the parser refused a text. It refuses JSON that could change a prototype, or is nested too deeply for its stack. */
function bodyProblems(text: string | undefined): FieldError[] {
  const json = parseJson(text);
  if (json === undefined) return [{ field: "body", in: "body", message: "Must be a JSON object" }];
  const problems: FieldError[] = [];
  for (const member of members(json)) {
    if (member.level > maxLevels || problems.length === maxErrors) break;
    if (!reachesPrototypes(member)) continue;
    const message = "The name: Must not be __proto__, nor constructor with a prototype inside";
    problems.push({ field: fieldOf("body", pathOf(member)), in: "body", message });
  }
  return problems.length > 0 ? problems : [{ field: "body", in: "body", message: "Must be nested less deeply" }];
}

function reachesPrototypes({ name, value }: Member): boolean {
  if (name === "__proto__") return true;
  return name === "constructor" && typeof value === "object" && value !== null && Object.hasOwn(value, "prototype");
}

/**
 * An empty query parameter counts as absent: forms send empty fields. API Gateway joins the values of a repeated one by a
 * comma, which to some parameters means several values: so a repeated one is a list, which no schema takes.
 */
function queryOf({ queryStringParameters, rawQueryString }: ChatRequest["event"]): Record<string, string | string[]> {
  const raw = rawQueryString?.includes("&") ? new URLSearchParams(rawQueryString) : undefined;
  const values = Object.entries(queryStringParameters ?? {}).map(([name, joined = ""]) => {
    const given = raw?.getAll(name).filter(Boolean) ?? [];
    return [name, given.length > 1 ? given : joined.split(",").filter(Boolean).join()] as const;
  });
  return Object.fromEntries(values.filter(([, value]) => value !== ""));
}

function parseWith(
  schema: z.ZodType | undefined,
  input: unknown,
  source: FieldError["in"],
  problems: FieldError[],
): unknown {
  const result = schema?.safeParse(input);
  if (!result || result.success) return result?.data;
  for (const issue of result.error.issues) {
    const field = fieldOf(source, issue.path.map(String));
    const isRepeated = source === "query" && Array.isArray(Object(input)[issue.path[0] ?? ""]);
    // Of a name, zod itself reports only that it is invalid.
    if (issue.code !== "invalid_key")
      problems.push({ field, in: source, message: isRepeated ? "Must be given once" : issue.message });
    else problems.push(...issue.issues.map(({ message }) => ({ field, in: source, message: `The name: ${message}` })));
  }
  return undefined;
}

/**
 * A field's path for an answer. The caller chose the names, so it is short and printable ASCII.
 *
 * @returns The source itself (`body`) where the whole of it is wrong.
 */
function fieldOf(source: FieldError["in"], path: string[]): string {
  if (path.length === 0) return source;
  const names = path.slice(0, maxFieldLength).map((name) => name.slice(0, 64).replace(/[^\x20-\x7e]/g, "?"));
  return names.join(".").slice(0, maxFieldLength);
}

/**
 * A body's text, "" if there is none; undefined if it is not UTF-8, which JSON must be: other bytes would be stored as
 * replacement characters.
 */
function textOf(body: string | undefined, isBase64: boolean): string | undefined {
  if (!body || !isBase64) return body ?? "";
  const bytes = Buffer.from(body, "base64");
  return isUtf8(bytes) ? bytes.toString() : undefined;
}

function bodyBytes(body: string | undefined, isBase64: boolean): number {
  return body === undefined ? 0 : Buffer.byteLength(body, isBase64 ? "base64" : "utf8");
}

/** The ids of the path, for the log. Ids of the body are logged only once the caller is known to be allowed. */
function pathFields({ params }: RequestState): Record<string, string> {
  return {
    ...(params ? { subaccountId: params.subaccountId } : {}),
    ...(params?.chatId ? { chatId: params.chatId } : {}),
  };
}
