/**
 * Loaded ahead of the operators' tools by their npm scripts: settings from `.env` or `sst shell`; where neither names a
 * database, those of the `npm start` that runs here, whose log is written on.
 */
import "../dev/env.ts";
import { join } from "node:path";
import { DEFAULT_FOLDER } from "../dev/start/folder.ts";
import { logInto } from "../dev/start/log-file.ts";
import { environmentOf, isOfDemo, running } from "../dev/start/running.ts";
import { stage } from "../lib/platform/stage.ts";
import { setOwnTarget } from "./target.ts";

const isTold = process.env.MONGODB_URL || process.env.SST_RESOURCE_App !== undefined;
const about = isTold ? undefined : await running();
if (about) {
  Object.assign(process.env, await environmentOf(about));
  if (isOfDemo(about)) setOwnTarget();
  logInto(join(DEFAULT_FOLDER, "gateway.log"));
  console.error(`MONGODB_URL is not set: this is about the npm start that runs here, ${about.url}`);
}
console.error(`stage ${stage()}`); // before anything is done to it; apart from what the tool itself says
