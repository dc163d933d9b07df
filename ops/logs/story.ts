import { because, begunAt, isOfRequest, type LoggedLine as Line, linesIn, timeOf } from "./line.ts";

/** Something that happened, at a time in epoch ms. */
interface Step {
  at: number;
  text: string;
}

/**
 * What happened to one request, one line per step: when it came and was admitted, what went wrong, how it was answered,
 * and what happened later: the request, webhook or sweep that settled its turn, and Retell's webhooks about its chat.
 *
 * @param log Log lines, each a JSON object. Other lines are ignored.
 * @returns   Undefined if no line has this operationId.
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

/** The steps of a request's own line: from its arrival to its answer. */
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

/** The step of any other line: a note during the request, or what another request did. */
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
