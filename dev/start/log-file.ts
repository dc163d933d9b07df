import { appendFileSync } from "node:fs";
import { makePrivate } from "./folder.ts";
import { isLog } from "./log-line.ts";

/** Also writes the log lines of this process to a file, but not its other output. */
export function logInto(file: string): void {
  makePrivate(file);
  for (const stream of [process.stdout, process.stderr]) {
    const write = stream.write.bind(stream);
    stream.write = ((chunk: string | Uint8Array, ...rest: never[]) => {
      const lines = Buffer.from(chunk as string)
        .toString()
        .split("\n")
        .filter(isLog);
      if (lines.length > 0) appendFileSync(file, `${lines.join("\n")}\n`);
      return write(chunk, ...rest);
    }) as typeof stream.write;
  }
}
