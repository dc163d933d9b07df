import { aws, impatient, send } from "../platform/aws.ts";
import { config } from "../platform/config.ts";
import { UnexpectedAnswer } from "../platform/errors.ts";
import type { RequestLog } from "../platform/logger.ts";
import type { JobMessage } from "./model.ts";

/**
 * The queue of background jobs: SQS when deployed, or this process. It may deliver a message twice, late or never, and
 * loses what a process had in memory: a job's document decides what is done, and the sweep sends what was lost.
 */

/** SQS delays a message by 15 minutes at most. What is due later is left to the sweep. */
const maxDelayMs = 900_000;

let here: ((message: JobMessage) => Promise<void>) | undefined;

/** Makes this process the queue and its worker, where there is no SQS: for `npm start`, and tests. */
export function workHere(work: ((message: JobMessage) => Promise<void>) | undefined): void {
  here = work;
}

/** Puts a message into the queue. If that fails, the job is late: the sweep sends another message. Never throws. */
export async function enqueue(message: JobMessage, log: RequestLog, delayMs = 0): Promise<void> {
  const { JOBS_QUEUE_URL } = config();
  if (delayMs > maxDelayMs) return;
  if (JOBS_QUEUE_URL === undefined) return deliverHere(message, delayMs);
  try {
    await sendToSqs(JOBS_QUEUE_URL, message, delayMs);
  } catch (error) {
    log.metrics.add("QueueFailures");
    log.warn("A job was not put into the queue: the sweep will do it", error, { jobId: message.jobId });
  }
}

/** @see https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessage.html */
async function sendToSqs(queueUrl: string, message: JobMessage, delayMs: number): Promise<void> {
  const body = { QueueUrl: queueUrl, MessageBody: JSON.stringify(message), DelaySeconds: Math.ceil(delayMs / 1_000) };
  const request = {
    method: "POST",
    headers: { "content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.SendMessage" },
    body: JSON.stringify(body),
  };
  const answer = await send(aws("sqs"), new URL("/", queueUrl).href, request, impatient);
  await answer.body?.cancel();
  if (!answer.ok) throw Object.assign(new UnexpectedAnswer("SQS refused a message"), { status: answer.status });
}

function deliverHere(message: JobMessage, delayMs: number): void {
  const work = here;
  if (work) setTimeout(() => void work(message).catch(() => {}), delayMs).unref(); // the worker has logged its failure
}
