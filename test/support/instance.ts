import { afterAll, inject } from "vitest";
import { closeAll } from "../../lib/mongo.ts";

/** Every test file is an instance of its own: here it gets its environment, as a Lambda does before it loads. */
Object.assign(process.env, inject("environment"));

/** The lines that this instance has logged, instead of a terminal full of them. */
export const logged: string[] = [];

for (const stream of [process.stdout, process.stderr]) {
  const write = stream.write.bind(stream);
  stream.write = ((chunk: string | Uint8Array, ...rest: never[]) => {
    const text = typeof chunk === "string" ? chunk : Buffer.from(chunk).toString();
    if (!text.startsWith('{"level":')) return write(chunk, ...rest);
    logged.push(...text.trimEnd().split("\n"));
    return true;
  }) as typeof stream.write;
}

/** The logged lines of one request, parsed. */
export function linesOf(operationId: string): Record<string, unknown>[] {
  return logged.map((line) => JSON.parse(line)).filter((line) => line.operationId === operationId);
}

afterAll(closeAll);
