import { because, begunAt, isOfRequest, type LoggedLine as Line, linesIn, timeOf } from "./line.ts";

/** Something that happened, by epoch ms. */
interface Step {
  at: number;
  text: string;
}

/**
 * What became of one request, a line a step: when it came and was let in, what went wrong on the way, what it was
 * answered, and what others did for it later: the request, webhook or sweep that settled its turn, and what Retell told
 * of its chat.
 *
 * @param log Log lines, each a JSON object; what is none is passed over.
 * @returns   Undefined when the log does not know it.
 */
export function storyOf(log: string, operationId: string): string | undefined {
  const lines = linesIn(log);
  const own = lines.filter((line) => line.operationId === operationId);
  const request = own.find(isOfRequest);
  const [first = request] = own;
  if (!first) return undefined;

  const startedAt = request ? begunAt(request) : timeOf(first);
  const told = lines.filter(
    (line) => line.operation === "webhook" && isOfRequest(line) && !own.includes(line) && isLater(line, request),
  );
  const steps = [...own.flatMap((line) => (line === request ? stepsOf(line) : stepOf(line))), ...told.map(stepOf)];
  steps.sort((a, b) => a.at - b.at);
  return [...headOf(request ?? first), "", ...steps.map((step) => shown(step, startedAt))].join("\n");
}

const isLater = (line: Line, request: Line | undefined) =>
  request?.chatId !== undefined && line.chatId === request.chatId && timeOf(line) >= timeOf(request);

function headOf(line: Line): string[] {
  const { operationId, operation, route, userId, subaccountId, chatId, agentId, retellAccountId, requestId } = line;
  const about = { operation: operationId, user: userId, subaccount: subaccountId, chat: chatId, agent: agentId };
  const ids = { ...about, "Retell account": retellAccountId, "Lambda request": requestId };
  const known = Object.entries(ids).filter(([, id]) => id !== undefined);
  return [`${operation}: ${route ?? "by the clock"}`, ...known.map(([name, id]) => `  ${name.padEnd(15)} ${id}`)];
}

/** Of a request that is over: from its coming to its answer. */
function stepsOf(line: Line): Step[] {
  const { coldStart, admit = 0, mongo = 0, retell = 0, cache, status, code, turn, turnId } = line;
  const waits = [`for MongoDB ${mongo} ms`, `for Retell ${retell} ms`].join(", ");
  const cached = cache ? `; cache ${cache}` : "";
  return [
    { at: begunAt(line), text: `came${coldStart ? ", to a new instance" : ""}` },
    ...(admit > 0 ? [{ at: begunAt(line) + admit, text: "was admitted: token, limits, permission" }] : []),
    { at: timeOf(line), text: `had waited ${waits}${cached}` },
    ...(turn ? [{ at: timeOf(line), text: `its turn ${turnId ?? ""} is ${turn}`.replace("  ", " ") }] : []),
    { at: timeOf(line), text: [`was answered ${status}`, code, because(line)].filter(Boolean).join(" ") },
  ];
}

/** Of any other line: what was noted on the way, or what somebody else did. */
function stepOf(line: Line): Step {
  const { level, message, operation, outcome, settledBy, event, operationId } = line;
  const by = settledBy ? `, by ${operation} ${settledBy}` : "";
  if (isOfRequest(line)) return { at: timeOf(line), text: `${operation}: ${event ?? message} (${operationId})` };
  const text = outcome ? `turn settled: ${outcome}${by}` : `${level}: ${message}${by}${because(line)}`;
  return { at: timeOf(line), text };
}

function shown({ at, text }: Step, startedAt: number): string {
  const ms = at - startedAt;
  const since = ms < 100_000 ? `${ms} ms` : `${Math.round(ms / 1_000)} s`;
  return `${new Date(at).toISOString().slice(11, 23)}  ${`+${since}`.padStart(10)}  ${text}`;
}
