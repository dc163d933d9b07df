/** A Lambda that may be killed: it runs a function whenever its parent says so, and ends when its parent goes. */
import { handler as create } from "../../functions/create.ts";
import { handler as deletion } from "../../functions/delete.ts";
import { handler as end } from "../../functions/end.ts";
import { handler as message } from "../../functions/message.ts";
import { handler as sweep } from "../../functions/sweep.ts";
import { handler as webhook } from "../../functions/webhook.ts";
import { handler as worker } from "../../functions/worker.ts";
import type { Run } from "./crash.ts";

const functions = { create, delete: deletion, end, message, sweep, webhook, worker };

process.on("message", async ({ name, event }: Run) => {
  const remainingMs = name === "worker" ? 330_000 : name === "sweep" ? 120_000 : 29_000;
  const context = { awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => remainingMs };
  const run = functions[name] as (event: unknown, context: unknown) => Promise<{ statusCode?: number }>;
  try {
    const { statusCode = 200 } = await run(event, context);
    process.send?.({ status: statusCode });
  } catch (error) {
    process.send?.({ status: String(error) });
  }
});
process.once("disconnect", () => process.exit());
process.send?.("ready");
