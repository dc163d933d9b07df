/** `npm run sweep`: one run of the scheduled sweep, by hand. */
import { handler } from "../functions/sweep.ts";
import { closeAll } from "../lib/mongo.ts";

console.log(JSON.stringify(await handler()));
await closeAll();
