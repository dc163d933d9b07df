import type { Db } from "mongodb";
import { ApiError } from "../lib/platform/errors.ts";
import { bounded } from "../lib/platform/mongo.ts";

/**
 * Returns a database that answers. A command that reads first would else fail with the driver's own message.
 *
 * @throws CONNECTION_FAILED
 */
export async function reachable(db: Db | Promise<Db>): Promise<Db> {
  await bounded((await db).command({ ping: 1 }));
  return db;
}

/** Name and code of an error's innermost cause. Its message is left out: a driver may put an address with a password in it. */
export function errorName(error: unknown): string {
  let deepest = error;
  while (deepest instanceof Error && deepest.cause) deepest = deepest.cause;
  if (!(deepest instanceof Error)) return "failed";
  const { code, codeName, status } = deepest as { code?: unknown; codeName?: unknown; status?: unknown };
  const more = [
    ...(typeof code === "string" || typeof code === "number" ? [String(code)] : []),
    ...(typeof codeName === "string" ? [codeName] : []),
    ...(typeof status === "number" ? [`answered ${status}`] : []),
  ];
  const saysMore = deepest.name !== "Error" || more.length === 0;
  return [...(saysMore ? [deepest.name] : []), ...more].join(" ");
}

/** Redis did not answer a command's own request. */
export class RedisUnreachable extends Error {
  override name = "RedisUnreachable";
}

/** Why a command failed, in one line that names no host and no password. */
export function whyNot(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isUnreachable = error instanceof ApiError && error.code === "CONNECTION_FAILED";
  const more = "npm run ops -- doctor says more";
  if (isUnreachable || namesHost(error)) return `MongoDB cannot be reached (${errorName(error)}): ${more}`;
  if (error instanceof RedisUnreachable) return `Redis does not answer (${errorName(error)}): ${more}`;
  if (error instanceof ApiError) return `${error.code} (${errorName(error)})`;
  const [firstLine = error.name] = error.message.split("\n");
  return error.cause ? `${firstLine} (${errorName(error)})` : firstLine;
}

/** Whether the message of an error names a database's host. */
function namesHost(error: Error): boolean {
  const { name, syscall } = error as Error & { syscall?: unknown };
  return /^Mongo(ServerSelection|Network)/.test(name) || /^(getaddrinfo|query|connect)/.test(String(syscall));
}
