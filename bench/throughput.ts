import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { Agent, request as httpRequest } from "node:http";
import { load as fill } from "../dev/seed/load.ts";
import { headersOf, load, type Name, type Request, succeed, targetOf } from "./api.ts";
import { type Job, job, tell } from "./child.ts";
import { type Spread, spread } from "./numbers.ts";
import { aPlace } from "./place.ts";
import type { Served } from "./serve.ts";

/** What one gateway did while this number of connections sent requests without a pause. */
export interface Load {
  connections: number;
  perSecond: number;
  /** CPU time of the gateway's process alone, in µs per request. */
  cpu: number;
  /** Time to an answer, in ms. */
  latency: Spread;
}

export type Throughput = Record<string, { naive: Load[]; ours: Load[] }>;

async function measure({ quick }: Job): Promise<Throughput> {
  const place = await aPlace();
  await fill(process.env.MONGODB_URL ?? "", { ...place, chats: 120, messages: 2, seed: 1 });
  const folders = { naive: new URL("naive/", import.meta.url), ours: new URL("../functions/", import.meta.url) };
  const throughput: Throughput = {};
  for (const which of ["naive", "ours"] as const) {
    const gateway = fork(
      new URL("serve.ts", import.meta.url),
      [JSON.stringify({ folder: folders[which].href } satisfies Served)],
      {
        stdio: ["ignore", "ignore", "inherit", "ipc"],
      },
    );
    const [{ url }] = (await once(gateway, "message")) as [{ url: string }];
    const api = await load(folders[which]);
    // One chat per connection, because a chat takes one message at a time.
    const chats = await Promise.all(
      [...Array(50)].map(async () => {
        const { body } = await succeed(api, "create", place, { body: { agentId: place.agentId } });
        return { chatId: String(body.data.chat_id), body: { content: "ping" } };
      }),
    );
    for (const [what, name, requests] of [
      ["list, cached", "list", [{}]],
      ["message", "message", chats],
    ] as const) {
      const loads = [];
      for (const connections of [1, 10, 50]) {
        const client = (i: number) => ask(url, name, requests[i % requests.length] ?? {});
        await under(gateway, connections, quick ? 300 : 1_000, client);
        loads.push(await under(gateway, connections, quick ? 1_000 : 5_000, client));
      }
      throughput[what] = { ...(throughput[what] ?? { naive: [], ours: [] }), [which]: loads };
    }
    gateway.disconnect();
  }
  return throughput;

  function ask(url: string, name: Name, what: Request): (agent: Agent) => Promise<void> {
    const body = what.body && JSON.stringify(what.body);
    const options = { method: body ? "POST" : "GET", headers: headersOf(place, what) };
    return async (agent) => {
      const sent = httpRequest(url + targetOf(name, place, what), { ...options, agent }).end(body);
      const [response] = await once(sent, "response");
      response.resume();
      await once(response, "end");
      if (response.statusCode !== 200) throw new Error(`${name}: ${response.statusCode}`);
    };
  }
}

async function under(
  gateway: ChildProcess,
  connections: number,
  ms: number,
  client: (i: number) => (agent: Agent) => Promise<void>,
): Promise<Load> {
  const taken: number[] = [];
  const before = await cpuOf(gateway);
  const start = performance.now();
  await Promise.all(
    [...Array(connections).keys()].map(async (i) => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const ask = client(i);
      while (performance.now() - start < ms) {
        const asked = performance.now();
        await ask(agent);
        taken.push(performance.now() - asked);
      }
      agent.destroy();
    }),
  );
  const seconds = (performance.now() - start) / 1_000;
  const cpu = ((await cpuOf(gateway)) - before) / taken.length;
  return { connections, perSecond: taken.length / seconds, cpu, latency: spread(taken) };
}

async function cpuOf(gateway: ChildProcess): Promise<number> {
  gateway.send("cpu");
  const [{ cpu }] = await once(gateway, "message");
  return cpu;
}

if (import.meta.main) tell(await measure(job()));
