/** `npm run sweep`: one run of the scheduled sweep, by hand. */
import { handler } from "../functions/sweep.ts";
import { central } from "../lib/mongo.ts";
import { reached, runTool } from "./run-tool.ts";

await runTool(async () => {
  await reached(central()); // else the sweep says at length, and to its log, why it cannot begin
  console.log(JSON.stringify(await handler()));
});
