import type { Context, SQSBatchResponse, SQSEvent, SQSRecord } from "aws-lambda";
import * as z from "zod";
import { exportKind } from "../lib/chat/export/exports.ts";
import { exportJob } from "../lib/chat/export/job.ts";
import { type JobKinds, runJob } from "../lib/jobs/run.ts";
import { parseJson } from "../lib/platform/json.ts";
import { RequestLog } from "../lib/platform/logger.ts";
import { drainSocketEvents, isUnreachable } from "../lib/platform/mongo.ts";

/** What runs in the background. */
const kinds: JobKinds = { [exportKind]: exportJob };

const Message = z.object({ subaccountId: z.string().regex(/^[0-9a-f]{24}$/), jobId: z.string(), kind: z.string() });

/** Works on jobs. A message for which that fails comes again; a job that fails does not make its message fail. */
export async function handler(event: SQSEvent, context?: Context): Promise<SQSBatchResponse> {
  const until = Date.now() + (context?.getRemainingTimeInMillis() ?? 330_000);
  await drainSocketEvents();
  const batchItemFailures: SQSBatchResponse["batchItemFailures"] = [];
  for (const record of event.Records) {
    if (!(await work(record, until, context))) batchItemFailures.push({ itemIdentifier: record.messageId });
  }
  return { batchItemFailures };
}

/** Returns false when the message should come again. */
async function work({ body }: SQSRecord, until: number, context: Context | undefined): Promise<boolean> {
  const started = performance.now();
  const requestId = context?.awsRequestId;
  const log = new RequestLog({ operationId: crypto.randomUUID(), requestId, operation: "worker" });
  const message = Message.safeParse(parseJson(body));
  try {
    if (!message.success) throw new Error("A message of the queue is none of ours"); // in the end, it is a dead letter
    const { subaccountId, jobId, kind } = message.data;
    Object.assign(log.fields, { subaccountId, jobId, kind });
    await runJob(kinds, message.data, until, log);
    return true;
  } catch (error) {
    if (isUnreachable(error)) log.warn("A job was not reached", error);
    else log.error("A message of the queue failed", error);
    return false;
  } finally {
    log.writeMetrics(Math.round(performance.now() - started));
  }
}
