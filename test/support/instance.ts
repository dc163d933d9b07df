import { afterAll, expect, inject } from "vitest";
import { closeAll } from "../../lib/mongo.ts";
import { problemsOf } from "./canaries.ts";

/** Every test file is an instance of its own: here it gets its environment, as a Lambda does before it loads. */
Object.assign(process.env, inject("environment"));

/** The lines that this instance has logged, instead of a terminal full of them. */
export const logged: string[] = [];
/** Its metrics, a line a request. */
export const metered: string[] = [];

/** Takes the lines that the API has written to a stream, this process or another. */
export function collect(text: string): void {
  for (const line of text.split("\n")) {
    if (line.startsWith('{"level":')) logged.push(line);
    if (line.startsWith('{"_aws":')) metered.push(line);
  }
}

/** The same, of processes that were killed: they may have died in the middle of a line. */
export function collectDying(text: string): void {
  const whole = text.split("\n").filter((line) => line.endsWith("}"));
  collect(whole.join("\n"));
}

for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write.bind(stream);
  stream.write = ((chunk: string | Uint8Array, ...rest: never[]) => {
    const text = typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
    if (!/^\{"(level|_aws)":/.test(text)) return write(chunk, ...rest);
    collect(text);
    return true;
  }) as typeof stream.write;
}

/** The logged lines of one request, parsed. */
export function linesOf(operationId: string): Record<string, unknown>[] {
  return parsed(logged, operationId);
}

/** What one request has counted. */
export function metricsOf(operationId: string): Record<string, unknown>[] {
  return parsed(metered, operationId);
}

function parsed(lines: string[], operationId: string): Record<string, unknown>[] {
  return lines.map((line) => JSON.parse(line)).filter((line) => line.operationId === operationId);
}

// The last thing that happens in every test file.
afterAll(() => {
  const problems = new Set([...logged, ...metered].flatMap(problemsOf));
  expect([...problems].slice(0, 10)).toEqual([]);
});

afterAll(closeAll);
