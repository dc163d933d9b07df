import type { ServerResponse } from "node:http";
import type { Clock } from "./clock.ts";
import type { Fault } from "./fault.ts";
import { isOdd, isOddBody, type Odd, oddBody, oddBytes, textOf } from "./odd.ts";
import type { Entry } from "./schema.ts";
import type { Answer } from "./steps.ts";

type Headers = Record<string, string>;
type FaultOf<Kind extends Fault["kind"]> = Extract<Fault, { kind: Kind }>;

/** Carries out the request. Never throws: a refusal is an answer, too. */
type Work = (replyAfterMs?: number) => Promise<Answer>;

const JSON_TYPE = { "content-type": "application/json; charset=utf-8" };

/** Answers in JSON, if the client is still there. */
export function respond(res: ServerResponse, { status, body }: Answer, headers: Headers = {}): void {
  if (body === undefined) send(res, status, headers);
  else send(res, status, { ...JSON_TYPE, ...headers }, textOf(body));
}

function send(res: ServerResponse, status: number, headers: Headers, bytes?: string | Buffer): void {
  if (!res.closed && !res.headersSent) res.writeHead(status, headers).end(bytes);
}

function respondOddly(name: Odd, res: ServerResponse, { status, body }: Answer, headers: Headers = {}): void {
  if (isOddBody(name)) {
    respond(res, { status, body: oddBody(name, body) }, headers);
    return;
  }
  const odd = oddBytes(name, textOf(body ?? {}));
  send(res, status, { ...JSON_TYPE, ...headers, ...odd.headers }, body === undefined ? undefined : odd.bytes);
}

/**
 * Carries out the request and answers, with the fault if there is one.
 *
 * @param history   The chat's entries as a get-chat would show them now, without a stranger's.
 */
export async function answer(
  res: ServerResponse,
  clock: Clock,
  fault: Fault | undefined,
  work: Work,
  history: () => Entry[],
): Promise<void> {
  switch (fault?.kind) {
    case undefined:
      return respond(res, await work());
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
      return respond(res, alter(fault, await work(), history()));
    case "garbage":
      if (isOdd(fault.as)) return respondOddly(fault.as, res, await work());
      return sendGarbage(res, await takeEffect(clock, fault, work), fault.as);
    case "status":
      await takeEffect(clock, fault, work);
      return sendStatus(res, fault);
    case "drop":
      await takeEffect(clock, fault, work);
      res.destroy();
      return;
    case "half":
      return sendHalf(res, await takeEffect(clock, fault, work), fault.hang);
    case "hang": // the server closes the connection when it stops
      await takeEffect(clock, fault, work);
  }
}

/** Carries out the request as the fault's `effect` says. Resolves when it is time for the fault. */
async function takeEffect(clock: Clock, fault: Extract<Fault, { effect: string }>, work: Work) {
  const { effect, effectAfterMs, replyAfterMs } = fault;
  if (effect === "after") void clock.wait(effectAfterMs).then(() => work(replyAfterMs));
  if (effect !== "before") return undefined;
  const done = work(replyAfterMs);
  // A reply that comes later is not waited for: the user's entry is stored by now.
  return replyAfterMs === undefined ? await done : undefined;
}

function sendStatus(res: ServerResponse, { status, message, as, retryAfter, retryAfterMs }: FaultOf<"status">): void {
  const refusal = { status, body: { status: "error", message } };
  const headers = {
    ...(retryAfter !== undefined && { "retry-after": String(retryAfter) }),
    ...(retryAfterMs !== undefined && { "retry-after-ms": String(retryAfterMs) }),
  };
  if (as) respondOddly(as, res, refusal, headers);
  else respond(res, refusal, headers);
}

/** The text that is cut. A stand-in where there is no body: after a 204, or if the request was not carried out. */
const textToCut = (done: Answer | undefined) =>
  textOf(done?.body ?? { messages: [{ role: "agent", content: "I was about to say" }] });

function sendHalf(res: ServerResponse, done: Answer | undefined, hang: boolean): void {
  if (res.closed) return;
  const bytes = Buffer.from(textToCut(done));
  res.writeHead(done?.body ? done.status : 201, { ...JSON_TYPE, "content-length": bytes.length });
  // Cut only when the half has been sent, or the client would see nothing but a reset.
  res.write(bytes.subarray(0, Math.floor(bytes.length / 2)), () => hang || res.destroy());
}

function sendGarbage(res: ServerResponse, done: Answer | undefined, as: string): void {
  const text = textToCut(done);
  if (as === "html") send(res, 200, { "content-type": "text/html" }, "<!doctype html><title>Back soon</title>");
  else if (as === "truncated") send(res, 200, JSON_TYPE, text.slice(0, Math.floor(text.length / 2)));
  else send(res, 200, JSON_TYPE, JSON.stringify({ data: [{ answer: 42 }] }));
}

type WithEntries = { messages?: Entry[]; message_with_tool_calls?: Entry[] };

/** Changes the entries of an answer that has some. */
function alter(fault: FaultOf<"repeat" | "beginning">, done: Answer, history: Entry[]): Answer {
  const body = done.body as WithEntries | undefined;
  const name = body?.messages ? "messages" : "message_with_tool_calls";
  const entries = body?.[name];
  if (!entries) return done;
  const altered = fault.kind === "repeat" ? repeatOne(fault, entries, history) : cutLast(entries);
  return { ...done, body: { ...body, [name]: altered } };
}

function repeatOne({ which, role }: FaultOf<"repeat">, entries: Entry[], history: Entry[]): Entry[] {
  const lastOfUser = history.findLastIndex((entry) => entry.role === "user");
  const candidates = which === "earlier" ? history.slice(0, Math.max(0, lastOfUser)) : entries;
  const again = candidates.findLast((entry) => entry.role === role && entry.message_id !== undefined);
  return again ? [...entries, again] : entries;
}

function cutLast(entries: Entry[]): Entry[] {
  const last = entries.findLastIndex(({ role }) => role === "agent");
  const half = ({ content = "" }: Entry) => content.slice(0, Math.ceil(content.length / 2));
  return entries.map((entry, index) => (index === last ? { ...entry, content: half(entry) } : entry));
}
