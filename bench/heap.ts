import { setTimeout } from "node:timers/promises";
import { type Api, ask, load, type Place, succeed } from "./api.ts";
import { job, tell } from "./child.ts";

/** The job of this program. */
export interface Wanted extends Place {
  /** Numbers of requests after which the heap is measured, ascending. */
  at: number[];
}

/** Bytes of heap in use after a collection, by number of requests. */
export type Measured = { requests: number; heapBytes: number }[];

/**
 * Sends one instance a mix of all requests, also ones that it refuses. Run with --expose-gc. The result shows whether
 * memory stays in use after a request.
 */
async function measure({ at, ...place }: Wanted): Promise<Measured> {
  const api = await load();
  const measured: Measured = [];
  let requests = 0;
  for (const milestone of at) {
    while (requests < milestone) requests += await aRound(api, place);
    measured.push({ requests, heapBytes: await heapBytes() });
  }
  return measured;
}

/** Sends some requests of every kind. Returns their number. */
async function aRound(api: Api, place: Place): Promise<number> {
  const created = await succeed(api, "create", place, {
    body: { agentId: place.agentId, metadata: { crm_id: "C-1" } },
  });
  const chat = { chatId: created.body.data.chat_id };
  await succeed(api, "message", place, { ...chat, body: { content: "ping" } });
  const headers = { "idempotency-key": crypto.randomUUID() };
  for (let i = 0; i < 2; i++) await succeed(api, "message", place, { ...chat, body: { content: "Hello" }, headers });
  await succeed(api, "transcript", place, chat);
  for (let i = 0; i < 3; i++) await succeed(api, "list", place);
  await succeed(api, "list", place, { query: { limit: "5" } });
  await succeed(api, "end", place, chat);
  for (let i = 0; i < 2; i++) await succeed(api, "transcript", place, chat);
  const refused = [
    await ask(api, "message", place, { ...chat, body: { content: "Too late" } }),
    await ask(api, "message", place, { ...chat, body: { content: "" } }),
    await ask(api, "transcript", place, { chatId: "chat_of_nobody" }),
    await ask(api, "list", { ...place, token: "none" }),
  ];
  const statuses = refused.map(({ status }) => status).join();
  if (statuses !== "409,400,404,401") throw new Error(`The refusals have the statuses ${statuses}`);
  return 12 + refused.length;
}

/** Collects three times, because weak references and finalizers release memory only after several collections. */
async function heapBytes(): Promise<number> {
  for (let i = 0; i < 3; i++) {
    globalThis.gc?.();
    await setTimeout(20);
  }
  return process.memoryUsage().heapUsed;
}

if (import.meta.main) tell(await measure(job()));
