import { type Arg, type Command, RedisError, type Reply } from "./redis.ts";

/** A refusal before any command runs. `message` is for the body, `{ error: message }`. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Upstash's limit for one request. */
export const MAX_REQUEST_BYTES = 10 * 1024 * 1024;

/** What a request asks for. */
export type Asked =
  | { kind: "single"; command: Command }
  | { kind: "pipeline"; commands: Command[] }
  | { kind: "multi-exec"; commands: Command[] };

/**
 * Reads the commands out of a request: `POST /` with one as a JSON array, `/pipeline` and `/multi-exec` with an array of
 * them, or `/set/foo/bar?EX=100` with one in the path, whose last argument may be the body.
 *
 * @throws  Refusal with status 400, in Upstash's words where they are known.
 * @see https://upstash.com/docs/redis/features/restapi
 */
export function readCommands(url: URL, body: Buffer): Asked {
  if (url.pathname === "/") return { kind: "single", command: toCommand(parse(body)) };
  if (url.pathname === "/pipeline") return { kind: "pipeline", commands: toCommands(parse(body)) };
  if (url.pathname === "/multi-exec") return { kind: "multi-exec", commands: toCommands(parse(body)) };

  const [name = "", ...args]: Arg[] = url.pathname.slice(1).split("/").map(decode);
  if (body.length > 0) args.push(body);
  for (const [option, value] of url.searchParams) {
    if (option !== "_token") args.push(option, ...(value ? [value] : []));
  }
  return { kind: "single", command: [String(name).toUpperCase(), ...args] };
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Refusal(400, "ERR the path is not properly encoded");
  }
}

function parse(body: Buffer): unknown {
  if (body.length === 0) throw new Refusal(400, "ERR empty command");
  try {
    return JSON.parse(body.toString());
  } catch {
    throw new Refusal(400, "ERR failed to parse command: the body is not JSON");
  }
}

function toCommands(body: unknown): Command[] {
  if (!Array.isArray(body)) throw new Refusal(400, "ERR failed to parse command: expected JSON array");
  if (body.length === 0) throw new Refusal(400, "ERR empty command");
  return body.map(toCommand);
}

function toCommand(body: unknown): Command {
  if (!Array.isArray(body)) throw new Refusal(400, "ERR failed to parse command: expected JSON array");
  const [name, ...args] = body.map(toArgument);
  if (!name) throw new Refusal(400, "ERR empty command");
  return [name.toUpperCase(), ...args];
}

function toArgument(value: unknown): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  if (value === null) throw new Refusal(400, "ERR null args are not supported");
  throw new Refusal(400, `ERR unsupported arg type: "${Array.isArray(value) ? "[" : "{"}": json.Delim`);
}

/** One answer as it stands in the body: `{ result }` or `{ error }`. */
export function toAnswer(reply: Reply, isBase64: boolean): { result: unknown } | { error: string } {
  if (reply instanceof RedisError) return { error: reply.message };
  // The one string that is never encoded. Inside of an array it is, since there the SDK decodes every string.
  if (String(reply) === "OK" && !Array.isArray(reply)) return { result: "OK" };
  return { result: toJson(reply, isBase64) };
}

function toJson(reply: Reply, isBase64: boolean): unknown {
  if (Array.isArray(reply)) return reply.map((element) => toJson(element, isBase64));
  if (reply === null || typeof reply === "number") return reply;
  const text = reply instanceof RedisError ? reply.message : reply;
  return isBase64 ? Buffer.from(text).toString("base64") : text.toString();
}
