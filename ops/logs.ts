import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { DEFAULT_FOLDER } from "../dev/start/folder.ts";
import { defineCommand } from "./command.ts";
import { lifeOf } from "./logs/life.ts";
import { storyOf } from "./logs/story.ts";

export const command = defineCommand({
  details:
    "Of a request: its steps, and what a later read, webhook or sweep did for it. Of a chat: every request and event.",
  operands: { usage: "[OPERATION_ID]", atMost: 1 },
  flags: {
    chat: { type: "text", description: "the chat's id, in place of a request's" },
    file: { type: "path", description: "the log (default: what npm start writes)" },
  },
  refuse({ chat }, [operationId]) {
    const isOne = (chat === undefined) !== (operationId === undefined);
    return isOne ? undefined : "it takes either an operation id or --chat TEXT";
  },
  async run({ chat, file = join(DEFAULT_FOLDER, "gateway.log") }, [operationId = ""]) {
    const log = await readFile(file, "utf8").catch(() => {
      throw new Error(`${file} cannot be read: npm start writes it`);
    });
    const told = chat === undefined ? storyOf(log, operationId.toLowerCase()) : lifeOf(log, chat);
    if (told === undefined) throw new Error(`${file} has no line about ${chat ?? operationId}`);
    console.log(told);
  },
});
