import { resolve } from "node:path";
import { defineCommand, writeFlags } from "../ops/command.ts";
import { contentOf, DEFAULT_FOLDER, emptyFolder, holderOf } from "./start/folder.ts";

export const command = defineCommand({
  details: "The next npm start begins with the demo tenant alone.",
  flags: { data: { type: "path", description: "the data folder", default: ".local" }, ...writeFlags },
  target: async ({ data }) => ({ name: `Folder ${folderOf(data)}`, isOwn: true }),
  async run({ data, "dry-run": isDryRun }) {
    const folder = folderOf(data);
    const pid = await holderOf(folder);
    if (pid) throw new Error(`${folder} is in use by process ${pid}: stop it first`);
    if (isDryRun) return console.log(`would delete: ${(await contentOf(folder)).join(", ") || "nothing"}`);
    await emptyFolder(folder);
    console.log(`${folder} is empty`);
  },
});

/** `.local` is the checkout's, whatever the current directory is. */
const folderOf = (data: string) => (data === ".local" ? DEFAULT_FOLDER : resolve(data));
