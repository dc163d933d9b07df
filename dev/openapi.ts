/** `npm run openapi`: writes docs/openapi.json, which describes the API for tools, and the client's types of it. */
import { execFileSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { defineCommand, type Named } from "../ops/command.ts";
import { runCommand } from "../ops/run-command.ts";
import { openapi } from "./openapi/document.ts";

const root = new URL("../", import.meta.url);

/** The text of docs/openapi.json. */
export const text = () => `${JSON.stringify(openapi(), null, 2)}\n`;

export const named: Named = {
  call: "npm run openapi",
  says: "writes docs/openapi.json from the route table and its schemas, and the client's types from that",
};

export const command = defineCommand({
  flags: {},
  async run() {
    await writeFile(new URL("docs/openapi.json", root), text());
    const types = ["run", "--silent", "types", "--workspace", "@scalai/chat"];
    execFileSync("npm", types, { cwd: fileURLToPath(root), stdio: "inherit" });
  },
});

if (import.meta.main) await runCommand(named, process.argv.slice(2), async () => command);
