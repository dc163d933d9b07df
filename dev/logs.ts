/** `npm run logs -- <operationId>`: what became of one request, from the local gateway's log. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { storyOf } from "./logs/story.ts";
import { DEFAULT_FOLDER } from "./start/folder.ts";

const { positionals, values } = parseArgs({
  options: { file: { type: "string", default: join(DEFAULT_FOLDER, "gateway.log") } },
  allowPositionals: true,
});
const [operationId] = positionals;
const log = operationId ? await readFile(values.file, "utf8").catch(() => undefined) : undefined;
const story = operationId && log !== undefined ? storyOf(log, operationId.toLowerCase()) : undefined;
if (story) console.log(story);
else {
  console.error(
    operationId === undefined
      ? "npm run logs -- <operationId> [--file FILE]"
      : log === undefined
        ? `${values.file} cannot be read: npm start writes it`
        : `${values.file} holds no line of ${operationId}`,
  );
  process.exitCode = 1;
}
