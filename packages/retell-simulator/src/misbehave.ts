import type { ServerResponse } from "node:http";
import type { Clock } from "./clock.ts";
import type { Fault } from "./faults.ts";
import { isOdd, isOddBody, type Odd, oddBody, oddBytes, textOf } from "./odd.ts";
import type { Entry } from "./schema.ts";
import type { Answer } from "./steps.ts";

type Work = (replyAfterMs?: number) => Promise<Answer>;

/** Answers in JSON, or with nothing but the status. Does nothing when the caller has gone. */
export function respond(res: ServerResponse, { status, body }: Answer, headers: Record<string, string> = {}): void {
  if (res.closed || res.headersSent) return;
  if (body === undefined) {
    res.writeHead(status, headers).end();
    return;
  }
  res.writeHead(status, { ...JSON_TYPE, ...headers }).end(textOf(body));
}

const JSON_TYPE = { "content-type": "application/json; charset=utf-8" };

/** Answers oddly. What has no body has the headers alone. */
function respondAs(name: Odd, res: ServerResponse, { status, body }: Answer, headers = {}): void {
  if (res.closed || res.headersSent) return;
  if (isOddBody(name)) {
    respond(res, { status, body: oddBody(name, body) }, headers);
    return;
  }
  const sent = oddBytes(name, textOf(body ?? {}));
  res.writeHead(status, { ...JSON_TYPE, ...headers, ...sent.headers }).end(body === undefined ? undefined : sent.bytes);
}

/**
 * Does the work and answers, or does it as the fault will have it.
 *
 * @param work      What was asked for. It never throws: a refusal is an answer, too.
 * @param history   The chat's, as a get-chat would show it now, without what strangers said and were told.
 */
export async function answer(
  res: ServerResponse,
  clock: Clock,
  fault: Fault | undefined,
  work: Work,
  history: () => Entry[],
): Promise<void> {
  if (!fault) return respond(res, await work());
  switch (fault.kind) {
    case "latency":
      await clock.wait(fault.ms);
      return res.closed ? undefined : respond(res, await work());
    case "late":
      await clock.wait(fault.ms);
      return respond(res, await work());
    case "lateReply":
      return respond(res, await work(fault.replyAfterMs));
    case "repeat":
    case "beginning":
      return respond(res, altered(fault, await work(), history()));
  }

  if (fault.kind === "garbage" && isOdd(fault.as)) return respondAs(fault.as, res, await work());
  const done = await takeEffect(clock, fault, work);
  switch (fault.kind) {
    case "status": {
      const refusal = { status: fault.status, body: { status: "error", message: fault.message } };
      const headers = {
        ...(fault.retryAfter !== undefined && { "retry-after": String(fault.retryAfter) }),
        ...(fault.retryAfterMs !== undefined && { "retry-after-ms": String(fault.retryAfterMs) }),
      };
      return fault.as ? respondAs(fault.as, res, refusal, headers) : respond(res, refusal, headers);
    }
    case "drop":
      res.destroy();
      return;
    case "half":
      return sendHalf(res, done, fault.hang);
    case "garbage":
      return sendGarbage(res, done, fault.as);
    case "hang": // the server closes the connection when it stops
  }
}

/** Lets happen of the work what the fault says. Resolves when it is time to misbehave. */
async function takeEffect(clock: Clock, fault: Extract<Fault, { effect: string }>, work: Work) {
  if (fault.effect === "after") {
    void clock.wait(fault.effectAfterMs).then(() => work(fault.replyAfterMs));
  } else if (fault.effect === "before") {
    const done = work(fault.replyAfterMs);
    // With a reply that comes later, the fault shows as soon as the user's entry stands.
    if (fault.replyAfterMs === undefined) return await done;
  }
  return undefined;
}

/** A 204 has no body to cut, and where nothing was done there is no answer: this stands for it. */
const PROMISED = { messages: [{ role: "agent", content: "I was about to say" }] };

const promised = (done: Answer | undefined) => textOf(done?.body ?? PROMISED);

function sendHalf(res: ServerResponse, done: Answer | undefined, hang: boolean): void {
  if (res.closed) return;
  const bytes = Buffer.from(promised(done));
  res.writeHead(done?.body ? done.status : 201, {
    "content-type": "application/json; charset=utf-8",
    "content-length": bytes.length,
  });
  // Cut only once the half has been handed over, or the caller would see nothing but a reset.
  res.write(bytes.subarray(0, Math.floor(bytes.length / 2)), () => hang || res.destroy());
}

function sendGarbage(res: ServerResponse, done: Answer | undefined, as: string): void {
  if (res.closed) return;
  const json = { "content-type": "application/json; charset=utf-8" };
  if (as === "html") {
    res.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><title>Back soon</title><p>Back soon.</p>");
  } else if (as === "truncated") {
    const text = promised(done);
    res.writeHead(200, json).end(text.slice(0, Math.floor(text.length / 2)));
  } else {
    res.writeHead(200, json).end(JSON.stringify({ data: [{ answer: 42 }] }));
  }
}

type Told = { messages?: Entry[]; message_with_tool_calls?: Entry[] };

/** An answer with entries that stands otherwise than it was given; any other as it is. */
function altered(fault: Extract<Fault, { kind: "repeat" | "beginning" }>, done: Answer, history: Entry[]): Answer {
  const told = done.body as Told | undefined;
  const name = told?.messages ? "messages" : "message_with_tool_calls";
  const entries = told?.[name];
  if (!entries) return done;
  return {
    ...done,
    body: { ...told, [name]: fault.kind === "repeat" ? repeated(fault, entries, history) : begun(entries) },
  };
}

function repeated({ which, role }: Extract<Fault, { kind: "repeat" }>, entries: Entry[], history: Entry[]): Entry[] {
  const last = history.findLastIndex((entry) => entry.role === "user");
  const from = which === "earlier" ? history.slice(0, Math.max(0, last)) : entries;
  const again = from.findLast((entry) => entry.role === role && entry.message_id !== undefined);
  return again ? [...entries, again] : entries;
}

function begun(entries: Entry[]): Entry[] {
  const last = entries.findLastIndex(({ role }) => role === "agent");
  const half = ({ content = "" }: Entry) => content.slice(0, Math.ceil(content.length / 2));
  return entries.map((entry, index) => (index === last ? { ...entry, content: half(entry) } : entry));
}
