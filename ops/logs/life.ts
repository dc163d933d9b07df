import { because, begunAt, isOfRequest, type LoggedLine, linesIn, timeOf } from "./line.ts";

/**
 * A chat's life, a line a step in the order of time: every request and webhook about it, what went wrong on their way,
 * and how turns that stayed open were settled. Each step ends with the operationId under which more is told of it.
 *
 * @param log Log lines, each a JSON object; what is none is passed over.
 * @returns   Undefined when the log does not know the chat.
 */
export function lifeOf(log: string, chatId: string): string | undefined {
  const lines = linesIn(log).filter(({ level }) => level !== "DEBUG");
  const named = lines.filter((line) => line.chatId === chatId);
  // What was noted before the request knew its chat.
  const requests = new Set(named.filter(isOfRequest).map(({ operationId }) => operationId));
  const own = lines.filter(
    (line) => line.chatId === chatId || (line.chatId === undefined && requests.has(line.operationId)),
  );
  if (own.length === 0) return undefined;

  const steps = own.map((line) => ({ at: isOfRequest(line) ? begunAt(line) : timeOf(line), line }));
  steps.sort((a, b) => a.at - b.at);
  return [
    ...headOf(own, chatId),
    "",
    ...steps.map(({ at, line }) => {
      const time = new Date(at).toISOString().replace("T", " ").replace("Z", "");
      return `${time}  ${line.operation.padEnd(10)}  ${isOfRequest(line) ? answered(line) : noted(line)}`;
    }),
  ].join("\n");
}

function headOf(lines: LoggedLine[], chatId: string): string[] {
  const all = (name: "subaccountId" | "agentId" | "userId" | "retellAccountId") =>
    [...new Set(lines.flatMap((line) => line[name] ?? []))].join(", ");
  const about = {
    subaccount: all("subaccountId"),
    agent: all("agentId"),
    users: all("userId"),
    "Retell account": all("retellAccountId"),
  };
  const known = Object.entries(about).filter(([, ids]) => ids !== "");
  return [chatId, ...known.map(([name, ids]) => `  ${name.padEnd(15)} ${ids}`)];
}

/** A request, and what it was answered. */
function answered(line: LoggedLine): string {
  const { event, outcome, status, code, duration, turn, cache, operationId } = line;
  const more = [
    event,
    outcome,
    [status, code].filter(Boolean).join(" "),
    `${duration} ms`,
    ...(turn ? [`its turn is ${turn}`] : []),
    ...(cache ? [`cache ${cache}`] : []),
  ];
  return `${more.filter(Boolean).join(", ")}${because(line)}  ${operationId}`;
}

/** What somebody else did for a request, or what went wrong in one. */
function noted(line: LoggedLine): string {
  const { level, message, outcome, settledBy, operationId } = line;
  const said = outcome ? `turn settled: ${outcome}` : `${level === "INFO" ? "" : `${level}: `}${message}`;
  const by = settledBy && settledBy !== operationId ? `, by ${settledBy}` : "";
  return `${said}${because(line)}${by}  ${operationId}`;
}
