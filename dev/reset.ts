import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { DEFAULT_FOLDER, emptyFolder, holderOf } from "./start/folder.ts";

/** `npm run reset`: the next `npm start` begins anew. */
async function main(): Promise<void> {
  const { values } = parseArgs({ options: { data: { type: "string" } } });
  const folder = resolve(values.data ?? DEFAULT_FOLDER);
  const pid = await holderOf(folder);
  if (pid) throw new Error(`${folder} is in use by process ${pid}: stop it first.`);
  await emptyFolder(folder);
  console.log(`${folder} is empty.`);
}

await main().catch((error: Error) => {
  console.error(error.message);
  process.exit(1);
});
