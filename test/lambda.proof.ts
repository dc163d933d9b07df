import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { sign } from "retell-sdk/lib/webhook_auth";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { toEvent } from "../dev/event.ts";
import { hostFunction, type Invocation, type LambdaFunction } from "../dev/lambda/host.ts";
import { toSqsEvent } from "../dev/worker.ts";
import { buildAll, functions } from "../infra/build.ts";
import { anExport } from "./support/attack.ts";
import { aWire, owned } from "./support/wire.ts";
import { aChat, aWorld, eventFor, type Name, responseOf, type World } from "./support/world.ts";

const wire = await aWire();

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "scalai-lambda-"));
  await buildAll(folder);
});
const running: LambdaFunction[] = [];
afterEach(async () => {
  await wire.heal();
  await Promise.all(running.splice(0).map((hosted) => hosted.stop()));
});
afterAll(() => rm(folder, { recursive: true }));

async function hosted(name: string, timeoutMs = 29_000, log: string[] = []): Promise<LambdaFunction> {
  const names = /^(STAGE|MONGODB_URL|UPSTASH_\w+|RETELL_BASE_URL|JWT_SECRET|ENCRYPTION_KEY|FILES_\w+)$/;
  const lambda = await hostFunction({
    folder: join(folder, name),
    name,
    environment: Object.fromEntries(Object.entries(process.env).filter(([variable]) => names.test(variable))),
    timeoutMs,
    memoryMb: 1_024,
    onLog: (line) => log.push(line),
  });
  running.push(lambda);
  return lambda;
}

/** A function of a few lines. */
async function of(code: string, timeoutMs?: number, log?: string[]): Promise<LambdaFunction> {
  const name = crypto.randomUUID();
  await mkdir(join(folder, name));
  await writeFile(join(folder, name, "index.cjs"), code);
  return hosted(name, timeoutMs, log);
}

/** Requests, new ones each time, by which a function does all of its work, where a chat's path alone is not enough. */
const events: Partial<Record<Name | "sweep" | "worker", (world: World) => Promise<unknown>>> = {
  create: async (world) => eventFor("create", { ...owned(world), body: { agentId: world.agentId } }),
  message: async (world) =>
    eventFor("message", { ...owned(world), chatId: await aChat(world), body: { content: "ping" } }),
  list: async (world) => eventFor("list", { ...owned(world), query: { limit: "7" } }),
  export: async (world) =>
    eventFor("export", { ...owned(world), chatId: await aChat(world), query: { format: "json" } }),
  search: async (world) => eventFor("search", { ...owned(world), query: { q: "ping" } }),
  webhook: async (world) => {
    const body = JSON.stringify({ event: "chat_started", chat: { chat_id: await aChat(world) } });
    const headers = { "content-type": "application/json", "x-retell-signature": await sign(body, world.apiKey) };
    return toEvent({ method: "POST", target: `/api/webhooks/retell/${world.subaccountId}`, headers, body });
  },
  health: async () => eventFor("health", {}),
  openapi: async () => toEvent({ method: "GET", target: "/openapi.json" }), // not compressed
  default: async () => toEvent({ method: "OPTIONS", target: "/health" }),
  sweep: async () => ({}),
  "exports-create": async (world) => eventFor("exports-create", { ...owned(world), body: { format: "csv" } }),
  "exports-get": async (world) => eventFor("exports-get", { ...owned(world), exportId: await anExport(world) }),
  "exports-cancel": async (world) => eventFor("exports-cancel", { ...owned(world), exportId: await anExport(world) }),
  worker: async (world) =>
    toSqsEvent({ subaccountId: world.subaccountId, jobId: await anExport(world), kind: "export" }),
};
const eventOf = async (name: string, world: World) =>
  events[name as keyof typeof events]?.(world) ??
  eventFor(name as Name, { ...owned(world), chatId: await aChat(world) });

/** What a client sees of it. */
function seen({ status, result }: Invocation) {
  // biome-ignore lint/suspicious/noExplicitAny: whatever a function returned
  const { statusCode, headers: _, ...more } = (result ?? {}) as any;
  return { status, http: statusCode, ...(more.body ? responseOf(result as never).body : more) };
}
const well = (name: string) => ({
  status: "answered",
  ...(name === "sweep"
    ? { failed: 0 }
    : name === "worker"
      ? { batchItemFailures: [] }
      : { http: name === "exports-create" ? 202 : 200 }),
});

/** Every connection is closed by the other side. */
async function hangUp(): Promise<void> {
  for (const proxy of [wire.mongo, wire.upstash, wire.retell]) {
    await proxy.refuse();
    await proxy.accept();
  }
}

describe.each(functions)("%s on Lambda", (name) => {
  it("does its work cold, warm, and after a freeze in which the other side of every connection has hung up", async () => {
    const world = await aWorld();
    const log: string[] = [];
    const lambda = await hosted(name, 29_000, log);
    const cold = await lambda.invoke(await eventOf(name, world));
    expect(seen(cold)).toMatchObject(well(name));
    expect(cold.initMs).toBeGreaterThan(0);
    const { pid } = lambda;
    const warm = await lambda.invoke(await eventOf(name, world));
    expect(seen(warm)).toMatchObject(well(name));
    expect(warm.initMs).toBeUndefined();

    const next = await eventOf(name, world);
    await hangUp();
    let thawed: Invocation | undefined;
    const calls = await wire.callsTo("retell", async () => {
      thawed = await lambda.invoke(next);
    });
    expect(seen(thawed as Invocation)).toMatchObject(well(name));
    expect(new Set(calls).size).toBe(calls.length); // nothing is asked of Retell twice
    // Nor was a limit degraded, or a cache missed, for a dead connection.
    expect(log.filter((line) => /ECONNRESET|EPIPE|MongoNetwork/.test(line))).toEqual([]);
    expect(lambda.pid).toBe(pid);
  });
});

describe("a function whose time runs out", () => {
  it("answers for itself, before the process is killed", async () => {
    const world = await aWorld();
    const names = ["create", "message", "end", "list", "transcript", "webhook"];
    const lambdas: { name: string; lambda: LambdaFunction; next: unknown }[] = [];
    for (const name of names) {
      const lambda = await hosted(name, 4_000);
      await lambda.invoke(await eventOf(name, world));
      lambdas.push({ name, lambda, next: await eventOf(name, world) });
    }
    // Only what they ask: without monitoring this process would lose its connection, and the next set-up would fail.
    wire.treatWork("mongo", "hang");
    const answers = lambdas.map(async ({ name, lambda, next }) => [name, seen(await lambda.invoke(next))]);
    // Before a webhook's handler runs, its signature is checked: there Mongo's own limit comes first.
    const expected = (name: string) =>
      name === "webhook" ? { http: 503, code: "CONNECTION_FAILED" } : { http: 504, code: "TIMEOUT" };
    expect(await Promise.all(answers)).toMatchObject(names.map((name) => [name, expected(name)]));
    wire.treat("mongo", "pass");
    for (const { name, lambda } of lambdas) {
      expect((await lambda.invoke(await eventOf(name, world))).status).toBe("answered");
    }
  });

  it("a send that Retell does not answer says so, and is not sent again", async () => {
    const world = await aWorld();
    const lambda = await hosted("message", 6_500);
    const event = await eventOf("message", world);
    wire.treat("retell", "hang");
    let answer: Invocation | undefined;
    const calls = await wire.callsTo("retell", async () => {
      answer = await lambda.invoke(event);
    });
    expect(seen(answer as Invocation)).toMatchObject({ http: 504, details: { outcome: "unknown" } });
    expect(calls.filter((call) => call === "POST /create-chat-completion")).toHaveLength(1);
  });

  it("a sweep that Mongo does not answer fails, and the next one does its work", async () => {
    const lambda = await hosted("sweep", 120_000);
    await lambda.invoke({});
    wire.treat("mongo", "hang");
    expect((await lambda.invoke({})).status).toBe("failed");
    wire.treat("mongo", "pass");
    await expect.poll(async () => seen(await lambda.invoke({}))).toMatchObject(well("sweep"));
  });
});

describe("the host", () => {
  it.each([
    ["waits for ever", "new Promise(() => setInterval(() => {}, 1_000))"],
    ["blocks", "{ for (;;); }"],
  ])("kills a handler that %s, and starts anew", async (_what, body) => {
    const lambda = await of(`exports.handler = async ({ good }) => good ? "good" : (() => ${body})();`, 1_000);
    expect(await lambda.invoke({ good: true })).toMatchObject({ status: "answered", initMs: expect.any(Number) });
    const { status, result } = await lambda.invoke({});
    expect(status).toBe("timed out");
    expect(result).toMatch(/Task timed out after 1.00 seconds$/);
    expect(lambda.pid).toBeUndefined();
    expect(await lambda.invoke({ good: true })).toMatchObject({ status: "answered", initMs: expect.any(Number) });
  });

  it("freezes what a handler leaves behind, until the next event", async () => {
    const log: string[] = [];
    const code = `exports.handler = async () => void setTimeout(() => console.log("late"), 300);`;
    const lambda = await of(code, 2_000, log);
    await lambda.invoke({});
    await setTimeout(500);
    expect(log).toEqual([]);
    await lambda.invoke({});
    await expect.poll(() => log).toEqual(["late"]);
  });

  it("gives a handler its event and its deadline", async () => {
    const code = `exports.handler = async (event, context) => ({ event, left: context.getRemainingTimeInMillis() });`;
    const { result } = await (await of(code, 5_000)).invoke({ text: "Grüße 👋" });
    expect(result).toEqual({ event: { text: "Grüße 👋" }, left: expect.closeTo(5_000, -3) });
  });

  it.each([
    ["throws", `exports.handler = async () => { throw new TypeError("no") }`, "failed", { errorType: "TypeError" }],
    ["fails at its start", `throw new Error("no")`, "init failed", { errorMessage: "no" }],
    ["has no handler", "", "init failed", { errorMessage: "index.handler is undefined or not exported" }],
    ["wants a callback", "exports.handler = (a, b, c) => {}", "init failed", { errorMessage: /callbacks/ }],
    ["ends its process", "exports.handler = () => process.exit(3)", "exited", "exit code 3"],
    ["answers 7 MB", `exports.handler = async () => "x".repeat(7e6)`, "failed", { errorType: /TooLarge/ }],
    [
      "forgets a promise",
      `exports.handler = () => { Promise.reject(new Error("no")); return new Promise(() => {}) }`,
      "failed",
      { errorMessage: "no" },
    ],
  ])("tells of a handler that %s", async (_what, code, status, result) => {
    const told = await (await of(code)).invoke({});
    expect(told.status).toBe(status);
    if (typeof result === "string") return expect(told.result).toBe(result);
    for (const [name, value] of Object.entries(result)) {
      expect(told.result).toHaveProperty(name, typeof value === "string" ? value : expect.stringMatching(value));
    }
  });
});
