/**
 * Loaded ahead of the operators' tools by their npm scripts: settings from `.env` or `sst shell`; where neither names a
 * database, those of the `npm start` that runs here.
 */
import "./env.ts";
import { environmentOf, running } from "./start/running.ts";

// The functions have the stage in a variable of their own, SST's shell only in this. Every key in Redis begins with it.
const { SST_RESOURCE_App: app } = process.env;
if (app) process.env.STAGE = JSON.parse(app).stage;

const isTold = process.env.MONGODB_URL || process.env.SST_RESOURCE_App !== undefined;
const about = isTold ? undefined : await running();
if (about) {
  Object.assign(process.env, await environmentOf(about));
  console.error(`MONGODB_URL is not set: this is about the npm start that runs here, ${about.url}`);
}
