/**
 * Runs the scheduled sweep repeatedly, as a process that may be killed. With `--ahead-ms`, runs it once as if it were this
 * much later, when chats that are still too young to be orphans are old enough.
 */
import { parseArgs } from "node:util";
import { serve } from "../../dev/service.ts";
import { handler } from "../../functions/sweep.ts";
import { closeAll } from "../../lib/platform/mongo.ts";
import { sleep } from "../../lib/platform/time.ts";

const { values } = parseArgs({ options: { "ahead-ms": { type: "string" } } });
const aheadMs = Number(values["ahead-ms"] ?? 0);

if (aheadMs > 0) {
  const now = Date.now;
  Date.now = () => now() + aheadMs;
  const swept = await handler();
  await closeAll();
  serve(swept, [], () => {});
} else {
  serve({}, [], () => {});
  for (;;) {
    await handler().catch(() => {}); // without Mongo there is nothing to sweep; the next run comes soon
    await sleep(700);
  }
}
