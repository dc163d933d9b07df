/**
 * `npm run logs -- <operationId>`: what became of one request; `npm run logs -- --chat <chatId>`: a chat's whole life.
 * Both from the local gateway's log.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { DEFAULT_FOLDER } from "../dev/start/folder.ts";
import { lifeOf } from "./logs/life.ts";
import { storyOf } from "./logs/story.ts";
import { runTool } from "./run-tool.ts";

await runTool(async () => {
  const { positionals, values } = parseArgs({
    options: {
      chat: { type: "string" },
      file: { type: "string", default: join(DEFAULT_FOLDER, "gateway.log") },
    },
    allowPositionals: true,
  });
  const [operationId] = positionals;
  const id = values.chat ?? operationId;
  if (!id) throw new Error("Usage: npm run logs -- <operationId> | --chat <chatId> [--file FILE]");
  const log = await readFile(values.file, "utf8").catch(() => {
    throw new Error(`${values.file} cannot be read: npm start writes it`);
  });
  const told = values.chat === undefined ? storyOf(log, id.toLowerCase()) : lifeOf(log, id);
  if (told === undefined) throw new Error(`${values.file} holds no line of ${id}`);
  console.log(told);
});
