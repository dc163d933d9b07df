import "./support/own-retell.ts";
import { describe, expect, it } from "vitest";
import { type Kind, sweepOperationsPerTenant, units, windowCommands } from "../ops/cost/units.ts";
import { logged, metered } from "./support/instance.ts";
import { aLog } from "./support/log.ts";
import { tool } from "./support/tool.ts";
import { aChatBy, anInstance, aWire, type Instance, owned } from "./support/wire.ts";
import { aWorld, type Name, type Request, type World } from "./support/world.ts";

const wire = await aWire();

type Prepare = (world: World, instance: Instance) => Promise<Request>;

const ongoing: Prepare = async (world, instance) => ({ ...owned(world), chatId: await aChatBy(instance, world) });
const after =
  (prepare: Prepare, ...names: Name[]): Prepare =>
  async (world, instance) => {
    const request = await prepare(world, instance);
    for (const name of names) await instance.call(name, request);
    return request;
  };

/** The request of each kind, by a caller whom the instance knows. */
const requests: Record<Kind, [name: Name, prepare: Prepare, more?: Request]> = {
  "list, cached": ["list", after(ongoing, "list")],
  "list, not cached": ["list", ongoing],
  "transcript, cached": ["transcript", after(ongoing, "end", "transcript")],
  "transcript, not cached": ["transcript", after(ongoing, "end")],
  "transcript, ongoing": ["transcript", ongoing],
  message: ["message", ongoing, { body: { content: "ping" } }],
  create: ["create", async (world) => ({ ...owned(world), body: { agentId: world.agentId } })],
  end: ["end", ongoing],
};

/** Commands that Redis has run, those inside of scripts included: Upstash bills both. */
async function billed(): Promise<number> {
  const stats = String(await wire.redis("INFO", "commandstats"));
  const counts = [...stats.matchAll(/^cmdstat_(get|set|mget|del|eval|evalsha|incrby|pexpire):calls=(\d+)/gm)];
  return counts.reduce((sum, [, , calls]) => sum + Number(calls), 0);
}

/** CloudWatch bills a line with 26 bytes more. */
const logBytesOf = (operationId: string) =>
  [...logged, ...metered]
    .filter((line) => line.includes(operationId))
    .reduce((sum, line) => sum + Buffer.byteLength(line) + 26, 0);

it.each(Object.entries(requests))("the calculator counts %s as it is", async (kind, [name, prepare, more]) => {
  const { redisCommands, trips, logBytes } = units[kind as Kind];
  const world = await aWorld();
  const instance = await anInstance();
  const next = async () => ({ ...(await prepare(world, instance)), ...more });
  await instance.call(name, await next()); // a window's first request also sets when it ends

  const found: Record<string, number> = {};
  for (const [service, trip] of [
    ["upstash", "redis"],
    ["mongo", "mongo"],
    ["retell", "retell"],
  ] as const) {
    const request = await next();
    const before = await billed();
    const calls = await wire.callsTo(service, async () => {
      const { status, body } = await instance.call(name, request);
      expect(status).toBe(200);
      found.logBytes = logBytesOf(body.meta.operationId);
    });
    found[trip] = calls.length;
    found.redisCommands = (await billed()) - before;
  }
  const { logBytes: bytes = 0, ...counts } = found;
  expect(counts).toEqual({ redisCommands, ...trips });
  expect(Math.abs(bytes - logBytes), `${bytes} bytes of log`).toBeLessThan(100);
});

it("the calculator counts the sweep of a subaccount that has nothing to do as it is", async () => {
  const instance = await anInstance();
  const sweep = () => instance.sweep({ until: Date.now() + 60_000, perSubaccount: 100 }, aLog("sweep"));
  const operations = async () => (await wire.callsTo("mongo", sweep)).length;
  await sweep();
  await operations();
  const before = await operations();
  for (let i = 0; i < 3; i++) await aWorld();
  await sweep(); // looks for their orphans
  expect(((await operations()) - before) / 3).toBe(sweepOperationsPerTenant);
});

describe("both windows of a request", () => {
  it("take eight commands by the library, and would take four by one script", async () => {
    const counts = [0, 1].flatMap((i) => [`current-${i}`, `previous-${i}`]);
    const script = `local counts = redis.call("MGET", unpack(KEYS))
      for i = 1, 2 do if tonumber(counts[2 * i - 1] or 0) < 100 then redis.call("INCRBY", KEYS[2 * i - 1], 1) end end`;
    const before = await billed();
    await wire.redis("EVAL", script, "4", ...counts);
    expect((await billed()) - before).toBe(windowCommands.oneScript);
    expect(units["list, cached"].redisCommands).toBe(windowCommands.sliding + 2); // and the epoch, and the cache
  });
});

describe("npm run ops -- cost", () => {
  it("multiplies what was measured by list prices", async () => {
    const { code, stdout, stderr } = await tool("cost", ["--tenants", "200", "--chats-per-day", "1000"]);
    expect([code, stderr]).toEqual([0, ""]);
    const perChat = 11 + 5 * 9 + 10 * 10 + 13 + 20 * 10;
    expect(stdout).toContain(`pay as you go: ${perChat * 30_000} commands`);
    expect(stdout).toMatch(/^\d+\.\d+ \$ a month, 0\.\d{5} \$ a chat, of which Upstash 22\.14 \$$/m);
  });

  it("knows what a stage costs that nobody calls", async () => {
    const { stdout } = await tool("cost", ["--tenants", "1", "--chats-per-day", "0"]);
    expect(stdout).toMatch(/^\d+\.\d+ \$ a month, 0 \$ a chat, of which Upstash 0 \$$/m);
  });
});
