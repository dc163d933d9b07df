import { afterAll, expect, inject } from "vitest";
import { closeAll } from "../../lib/platform/mongo.ts";
import { leaksOf, problemsOf } from "./canaries.ts";

/**
 * Each test file is an instance of its own (fresh.ts). This module sets its environment before anything reads it. Its
 * central database is its own too, so a sweep meets no other file's subaccounts. The log level is DEBUG, so that those
 * lines are searched as well.
 */
const { MONGODB_URL = "", ...environment } = inject("environment");
const database = new URL(`/central_${crypto.randomUUID().slice(0, 8)}`, MONGODB_URL);
database.search = new URL(MONGODB_URL).search;
Object.assign(process.env, environment, { MONGODB_URL: database.href, POWERTOOLS_LOG_LEVEL: "DEBUG" });

/** The lines that this instance has logged. They are not printed. */
export const logged: string[] = [];
/** Those of level DEBUG. */
export const debugged: string[] = [];
/** Its metrics, one line per request. */
export const metered: string[] = [];

/** Everything else that this process has written. It should be empty, since Lambda would keep it in the log. */
export const printed: string[] = [];

/** Collects the API's lines from the output of this process or another. Returns the rest. */
export function collect(text: string): string {
  return text
    .split("\n")
    .filter((line) => {
      const lines = line.startsWith('{"_aws":') ? metered : line.startsWith('{"level":') ? logged : undefined;
      (line.startsWith('{"level":"DEBUG"') ? debugged : lines)?.push(line);
      return !lines;
    })
    .join("\n");
}

/** The same for processes that were killed, whose last line may be incomplete. */
export function collectDying(text: string): void {
  const whole = text.split("\n").filter((line) => line.endsWith("}"));
  collect(whole.join("\n"));
}

for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write.bind(stream);
  stream.write = ((chunk: string | Uint8Array, ...rest: never[]) => {
    const text = typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
    const other = collect(text);
    if (other === "") return true;
    printed.push(other);
    return write(other === text ? chunk : other, ...rest);
  }) as typeof stream.write;
}

/** The logged lines of one request, parsed. */
export function linesOf(operationId: string): Record<string, unknown>[] {
  return parsed(logged, operationId);
}

/** The metrics of one request. */
export function metricsOf(operationId: string): Record<string, unknown>[] {
  return parsed(metered, operationId);
}

function parsed(lines: string[], operationId: string): Record<string, unknown>[] {
  return lines.map((line) => JSON.parse(line)).filter((line) => line.operationId === operationId);
}

/** The faults in everything that this instance has written so far. */
export function problems(): string[] {
  const leaks = leaksOf(printed).map((leak) => `${leak} was printed`);
  return [...new Set([...[...logged, ...debugged, ...metered].flatMap(problemsOf), ...leaks])];
}

// The last thing that happens in every test file.
afterAll(() => expect(problems().slice(0, 10)).toEqual([]));

afterAll(closeAll);
