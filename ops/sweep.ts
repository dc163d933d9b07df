/** `npm run sweep`: one run of the scheduled sweep, by hand. */
import { parseArgs } from "node:util";
import { handler } from "../functions/sweep.ts";
import { central } from "../lib/platform/mongo.ts";
import { reached, runTool } from "./run-tool.ts";
import { confirmWrite } from "./target.ts";

await runTool(async () => {
  const { yes } = parseArgs({ options: { yes: { type: "boolean" } } }).values;
  await confirmWrite(yes);
  await reached(central()); // else the sweep says at length, and to its log, why it cannot begin
  console.log(JSON.stringify(await handler()));
});
