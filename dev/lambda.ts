import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { buildFunction, dist, functions } from "../infra/build.ts";
import { type Route, routeKey } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { toEvent } from "./event.ts";
import { hostFunction, type Invocation } from "./lambda/host.ts";
import type { DevJson } from "./start/greeting.ts";
import { environmentOf, running } from "./start/running.ts";

const usage = `npm run lambda -- NAME ['METHOD /path {"a": "body"}'] [--event FILE] [--token USER] [--times N]

Bundles a function as it is deployed and runs it as Lambda does, against the services of a running npm start:
first cold, then warm, frozen in between. NAME is one of ${functions.join(", ")}.

  'METHOD /path …'  the request; {subaccountId} and {agentId} in it become the demo's. Absent: what its route says
  --event FILE      a whole event instead, as JSON
  --token USER      owner (default), viewer, expired, stranger, superAdmin, none, or a token
  --times N         how often, 3 by default`;

/** The request that was asked for, or the one that the table names. */
function requestOf(name: string, text: string | undefined, about: DevJson) {
  const { method, path }: Route = routes[name as keyof typeof routes];
  const fallback =
    path === "$default" ? "GET /nowhere" : `${method} ${path}${name === "create" ? ` {"agentId": "{agentId}"}` : ""}`;
  const filled = (text ?? fallback)
    .replaceAll("{subaccountId}", about.subaccountId)
    .replaceAll("{agentId}", about.agentId);
  const [, verb, target, body] = /^([A-Z]+) (\/\S*)(?:\s+(.*))?$/s.exec(filled) ?? [];
  if (!verb || !target || target.includes("{")) {
    throw new Error(`Say what to ask: npm run lambda -- ${name} '${routeKey({ method, path })}', with a chat of yours`);
  }
  return { method: verb, target, body };
}

async function eventFor(name: string, text: string | undefined, user: string, about: DevJson): Promise<unknown> {
  if (name === "sweep") return {};
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

function told({ initMs, ms, status, result }: Invocation): string {
  const { statusCode } = (result ?? {}) as { statusCode?: number };
  const init = initMs === undefined ? "warm" : `cold, ready after ${initMs.toFixed(0)} ms`;
  return `${init.padEnd(26)} ${status} in ${ms.toFixed(1)} ms${statusCode ? `: ${statusCode}` : ""}`;
}

function bodyOf({ result }: Invocation): string {
  const { body, isBase64Encoded } = (result ?? {}) as { body?: string; isBase64Encoded?: boolean };
  return body === undefined || isBase64Encoded ? JSON.stringify(result, null, 2) : body;
}

async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      event: { type: "string" },
      token: { type: "string", default: "owner" },
      times: { type: "string", default: "3" },
    },
  });
  const [name = "", text] = positionals;
  if (!functions.includes(name)) return console.log(usage);

  const about = await running();
  if (!about) throw new Error("Nothing runs: npm start, in another terminal");
  const event = values.event
    ? JSON.parse(await readFile(values.event, "utf8"))
    : await eventFor(name, text, values.token, about);

  const { folder } = await buildFunction(name, join(dist, name));
  const hosted = await hostFunction({
    folder,
    name,
    environment: await environmentOf(about),
    timeoutMs: name === "sweep" ? 120_000 : 29_000,
    memoryMb: name === "sweep" ? 1_024 : Number.parseInt(routes[name as keyof typeof routes].memory, 10),
    onLog: (line) => console.error(line),
  });
  try {
    let last: Invocation | undefined;
    for (let i = 0; i < Number(values.times); i++) {
      last = await hosted.invoke(event);
      console.log(told(last));
    }
    if (last) console.log(bodyOf(last));
  } finally {
    await hosted.stop();
  }
}

if (import.meta.main) {
  await main().catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 1;
  });
}
