import { because, begunAt, isOfRequest, type LoggedLine, linesIn, timeOf } from "./line.ts";

/**
 * The life of a chat, one line per step, in the order of time: every request and webhook about it, what went wrong in
 * them, and how turns that stayed open were settled. Each line ends with the operationId, for `storyOf`.
 *
 * @param log Log lines, each a JSON object. Other lines are ignored.
 * @returns   Undefined if no line names the chat.
 */
export function lifeOf(log: string, chatId: string): string | undefined {
  const lines = linesIn(log).filter(({ level }) => level !== "DEBUG");
  const named = lines.filter((line) => line.chatId === chatId);
  // A request's lines from before it knew its chat belong to the chat too.
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

/** The step of a request: its answer. */
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

/** The step of any other line: a turn that another request settled, or something that went wrong. */
function noted(line: LoggedLine): string {
  const { level, message, outcome, settledBy, operationId } = line;
  const said = outcome ? `turn settled: ${outcome}` : `${level === "INFO" ? "" : `${level}: `}${message}`;
  const by = settledBy && settledBy !== operationId ? `, by ${settledBy}` : "";
  return `${said}${because(line)}${by}  ${operationId}`;
}
