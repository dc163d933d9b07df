import type { Context, SQSEvent } from "aws-lambda";
import { workerSeconds } from "../infra/jobs.ts";
import type { JobMessage } from "../lib/jobs/model.ts";
import { workHere } from "../lib/jobs/queue.ts";

/** Makes this process the queue of background jobs, with the worker behind it, as SQS and Lambda are when deployed. */
export function startWorker(): void {
  workHere(async (message) => {
    const { handler } = await import("../functions/worker.ts");
    const deadline = performance.now() + workerSeconds * 1_000;
    const context = {
      awsRequestId: crypto.randomUUID(),
      getRemainingTimeInMillis: () => Math.max(0, deadline - performance.now()),
    };
    await handler(toSqsEvent(message), context as Context);
  });
}

/** The event that Lambda makes of one message of the queue. */
export function toSqsEvent(message: JobMessage): SQSEvent {
  const now = String(Date.now());
  return {
    Records: [
      {
        messageId: crypto.randomUUID(),
        receiptHandle: "local",
        body: JSON.stringify(message),
        attributes: {
          ApproximateReceiveCount: "1",
          SentTimestamp: now,
          SenderId: "local",
          ApproximateFirstReceiveTimestamp: now,
        },
        messageAttributes: {},
        md5OfBody: "",
        eventSource: "aws:sqs",
        eventSourceARN: "arn:aws:sqs:us-east-1:123456789012:jobs",
        awsRegion: "us-east-1",
      },
    ],
  };
}
