import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { buildFunction, dist, functions } from "../infra/build.ts";
import { functionsOf } from "../infra/functions.ts";
import { defaultTimeoutSeconds, type Route, routeKey } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { defineCommand } from "../ops/command.ts";
import { toEvent } from "./event.ts";
import { hostFunction, type Invocation } from "./lambda/host.ts";
import type { DevJson } from "./start/greeting.ts";
import { environmentOf, running } from "./start/running.ts";
import { toSqsEvent } from "./worker.ts";

/** The request of the command line, or by default that of the function's route. */
function requestOf(name: string, text: string | undefined, about: DevJson) {
  const { method, path }: Route = routes[name as keyof typeof routes];
  const fallback =
    path === "$default" ? "GET /nowhere" : `${method} ${path}${name === "create" ? ` {"agentId": "{agentId}"}` : ""}`;
  const filled = (text ?? fallback)
    .replaceAll("{subaccountId}", about.subaccountId)
    .replaceAll("{agentId}", about.agentId);
  const [, verb, target, body] = /^([A-Z]+) (\/\S*)(?:\s+(.*))?$/s.exec(filled) ?? [];
  if (!verb || !target || target.includes("{")) {
    throw new Error(
      `Pass a request: npm run local -- lambda ${name} '${routeKey({ method, path })}', with the id of a chat`,
    );
  }
  return { method: verb, target, body };
}

async function eventFor(name: string, text: string | undefined, user: string, about: DevJson): Promise<unknown> {
  if (name === "sweep") return {};
  if (name === "worker") return eventOfJob(text, about);
  const { method, target, body } = requestOf(name, text, about);
  const token = about.tokens[user as keyof DevJson["tokens"]] ?? (user === "none" ? undefined : user);
  return toEvent({
    method,
    target,
    headers: {
      ...(token ? { authorization: `Bearer ${token}` } : {}),
      ...(body === undefined ? {} : { "content-type": "application/json" }),
    },
    ...(body === undefined ? {} : { body }),
  });
}

/** Of an export, whose id the command line has. */
function eventOfJob(jobId: string | undefined, { subaccountId }: DevJson): unknown {
  if (!jobId) throw new Error("Pass the id of an export: npm run local -- lambda worker exp_…");
  return toSqsEvent({ subaccountId, jobId, kind: "export" });
}

function told({ initMs, ms, status, result }: Invocation): string {
  const { statusCode } = (result ?? {}) as { statusCode?: number };
  const init = initMs === undefined ? "warm" : `cold, ready after ${initMs.toFixed(0)} ms`;
  return `${init.padEnd(26)} ${status} in ${ms.toFixed(1)} ms${statusCode ? `: ${statusCode}` : ""}`;
}

function bodyOf({ result }: Invocation): string {
  const { body, isBase64Encoded } = (result ?? {}) as { body?: string; isBase64Encoded?: boolean };
  return body === undefined || isBase64Encoded ? JSON.stringify(result, null, 2) : body;
}

export const command = defineCommand({
  details: `Uses the services of a running npm start. NAME is one of ${functions.join(", ")}.
Without a request it is the one that the function's route names. In a request, {subaccountId} and {agentId} become the demo's.`,
  operands: { usage: `NAME ['METHOD /path {"a": "body"}']`, atMost: 2 },
  flags: {
    event: { type: "path", description: "a file with a whole event as JSON, in place of a request" },
    token: {
      type: "text",
      description: "owner, viewer, formerMember, stranger, superAdmin, none, or a token",
      default: "owner",
    },
    times: { type: "number", description: "how many invocations", default: 3 },
  },
  refuse: (_values, [name = ""]) => (functions.includes(name) ? undefined : `NAME is one of ${functions.join(", ")}`),
  async run({ event: file, token, times }, [name = "", text]) {
    const about = await running();
    if (!about) throw new Error("npm start is not running: start it in another terminal");
    const event = file ? JSON.parse(await readFile(file, "utf8")) : await eventFor(name, text, token, about);
    await invoke(name, event, times, await environmentOf(about));
  },
});

async function invoke(name: string, event: unknown, times: number, environment: NodeJS.ProcessEnv): Promise<void> {
  const { folder } = await buildFunction(name, join(dist, name));
  const { memory, timeoutSeconds } = functionsOf("local", {}).find((row) => row.name === name) ?? {};
  const hosted = await hostFunction({
    folder,
    name,
    environment,
    timeoutMs: (timeoutSeconds ?? defaultTimeoutSeconds) * 1_000,
    memoryMb: Number.parseInt(memory ?? "1024", 10),
    onLog: (line) => console.error(line),
  });
  try {
    let last: Invocation | undefined;
    for (let i = 0; i < times; i++) {
      last = await hosted.invoke(event);
      console.log(told(last));
    }
    if (last) console.log(bodyOf(last));
  } finally {
    await hosted.stop();
  }
}
