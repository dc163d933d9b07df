import type { Db } from "mongodb";
import { ApiError } from "../lib/platform/errors.ts";
import { bounded, closeAll } from "../lib/platform/mongo.ts";
import { saying } from "./doctor/finding.ts";

/** Runs a tool, and closes what it has opened. What it throws is said in a line, without a stack: exit code 1. */
export async function runTool(main: () => Promise<void> | void): Promise<void> {
  try {
    await main();
  } catch (error) {
    console.error(whyNot(error));
    process.exitCode = 1;
  } finally {
    await closeAll();
  }
}

/** A database that answers; else what follows would fail in the driver's own words. */
export async function reached(db: Db | Promise<Db>): Promise<Db> {
  await bounded((await db).command({ ping: 1 }));
  return db;
}

/** Whether the message of an error that was met on the way to a database names its host. */
function hasHost(error: Error): boolean {
  const { name, syscall } = error as Error & { syscall?: unknown };
  return /^Mongo(ServerSelection|Network)/.test(name) || /^(getaddrinfo|query|connect)/.test(String(syscall));
}

/** Why a tool could not do what it was asked to. */
export function whyNot(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const isUnreachable = error instanceof ApiError && error.code === "CONNECTION_FAILED";
  if (isUnreachable || hasHost(error)) {
    return `MongoDB cannot be reached (${saying(error)}): npm run doctor says more`;
  }
  if (error.name === "RedisUnavailable") return `Redis does not answer (${saying(error)}): npm run doctor says more`;
  if (error instanceof ApiError) return `${error.code} (${saying(error)})`;
  const [said = error.name] = error.message.split("\n");
  return error.cause ? `${said} (${saying(error)})` : said;
}
