import { randomBytes } from "node:crypto";
import { afterAll, expect, vi } from "vitest";
import { routes } from "../../lib/api/routes.ts";
import { startUpstashEmulator } from "../../packages/upstash-emulator/src/index.ts";
import { linesOf } from "./instance.ts";
import { httpProxy, mongoProxy, Recorder, type Service, type Treatment, type Trip } from "./proxy.ts";
import { invoke, type Name, type Request, type Response, type World } from "./world.ts";

const letters: Record<Service, string> = { upstash: "U", mongo: "M", retell: "R" };

/**
 * Puts a proxy in front of each service, for all instances that start from now on. The test file gets a Redis of its own,
 * which it can empty and break. Call it before anything reads the configuration.
 */
export async function aWire() {
  const { MONGODB_URL = "", RETELL_BASE_URL = "" } = process.env;
  const emulator = await startUpstashEmulator();
  const central = new URL(MONGODB_URL);

  const recorder = new Recorder();
  const upstash = await httpProxy("upstash", emulator.url, recorder);
  const retell = await httpProxy("retell", RETELL_BASE_URL, recorder);
  const mongo = await mongoProxy(central, recorder);
  const proxies = { upstash, retell, mongo };

  Object.assign(process.env, {
    UPSTASH_REDIS_REST_URL: `http://127.0.0.1:${upstash.port}`,
    UPSTASH_REDIS_REST_TOKEN: emulator.token,
    RETELL_BASE_URL: `http://127.0.0.1:${retell.port}`,
    // Without directConnection, the driver would connect to the address that the node reports, past the proxy.
    MONGODB_URL: `mongodb://127.0.0.1:${mongo.port}${central.pathname}?directConnection=true`,
    // 32 bytes, because deriving a key from a passphrase would pause each new instance.
    ENCRYPTION_KEY: randomBytes(32).toString("hex"),
  });

  const control = async (path: string, body?: object) => {
    const answer = await fetch(`${emulator.url}/_control/${path}`, {
      method: "POST",
      body: JSON.stringify(body ?? {}),
    });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  };

  afterAll(async () => {
    await Promise.all([...instances].map(({ close }) => close()));
    await Promise.all(Object.values(proxies).map((proxy) => proxy.stop()));
    await emulator.stop();
  });

  return {
    ...proxies,
    /** Treats everything that goes to a service alike. */
    treat(service: Service, how: Treatment): void {
      proxies[service].treat = () => how;
    },
    /** The same, except MongoDB's monitoring: the process answers, but every operation fails. */
    treatWork(service: Service, how: Treatment): void {
      proxies[service].treat = (what) => (what === "hello" ? "pass" : how);
    },
    /** Makes Redis fail, slow down or recover. */
    redisFault: (kind: string, ms?: number) => control("fault", { kind, ...(ms === undefined ? {} : { ms }) }),
    /** Empties Redis. */
    flush: () => control("flush"),
    /** Runs one command in Redis, past the proxy. */
    async redis(...command: string[]): Promise<unknown> {
      const headers = { authorization: `Bearer ${emulator.token}` };
      const answer = await fetch(emulator.url, { method: "POST", headers, body: JSON.stringify(command) });
      return ((await answer.json()) as { result: unknown }).result;
    },
    /** Removes all faults. */
    async heal(): Promise<void> {
      for (const proxy of Object.values(proxies)) {
        proxy.treat = () => "pass";
        await proxy.accept();
      }
      await control("fault", { kind: "none" });
    },
    /** Resolves when no call is under way, including calls that no request waits for. */
    quiet: () => recorder.quiet(),
    /** The calls to a service while the function ran. */
    async callsTo(service: Service, work: () => Promise<unknown>): Promise<string[]> {
      recorder.trips = [];
      await work();
      return recorder.trips.filter(({ to }) => to === service).map(({ what }) => what);
    },
    /** The steps of a request: see `stepsOf`. */
    async steps(work: () => Promise<unknown>): Promise<string> {
      recorder.trips = [];
      recorder.quietMs = 50;
      await work();
      recorder.quietMs = 0;
      const answeredAt = recorder.now();
      // When this is answered, everything that was sent before it has arrived.
      await fetch(`http://127.0.0.1:${upstash.port}/_control/stats`);
      return stepsOf(recorder.trips, answeredAt);
    },
  };
}

/**
 * The calls over the wire: U for an HTTP request to Upstash, M for a command to MongoDB, R for a call to Retell. A call's
 * step is the number of consecutive calls that ended before it began; calls of one step are parallel. Calls that were
 * still under way when the answer left stand behind a bar.
 */
function stepsOf(trips: Trip[], answeredAt: number): string {
  const steps: string[][] = [];
  const depths = new Map<Trip, number>();
  for (const trip of trips) {
    const before = trips.filter(({ end }) => end < trip.start).map((earlier) => depths.get(earlier) ?? 0);
    const depth = Math.max(0, ...before) + 1;
    depths.set(trip, depth);
    const step = steps[depth - 1] ?? [];
    steps[depth - 1] = step;
    if (trip.end < answeredAt) step.push(letters[trip.to]);
  }
  const behind = trips.filter(({ end }) => end > answeredAt).map(({ to }) => letters[to]);
  const path = steps.filter((step) => step.length > 0).map((step) => step.sort().join("∥"));
  return `${path.join(" → ")}${behind.length > 0 ? ` | ${behind.join("")}` : ""}`;
}

/** A further instance: its own modules, so its own caches, connections, breaker and settings. */
export interface Instance {
  call(name: Name, request?: Request): Promise<Response>;
  access: typeof import("../../lib/access/membership.ts");
  sweep: typeof import("../../lib/chat/sweep/sweep.ts").sweep;
  close(): Promise<void>;
}

const instances = new Set<Instance>();

/** @param settings Variables that only this instance has. */
export async function anInstance(settings: Record<string, string> = {}): Promise<Instance> {
  vi.resetModules();
  const before = { ...process.env };
  Object.assign(process.env, settings);
  const { config } = await import("../../lib/platform/config.ts");
  config(); // reads the settings while they are set
  for (const name of Object.keys(settings)) {
    if (before[name] === undefined) delete process.env[name];
    else process.env[name] = before[name];
  }

  const { closeAll } = await import("../../lib/platform/mongo.ts");
  const handlers = new Map<Name, Parameters<typeof invoke>[0]>();
  for (const name of Object.keys(routes) as Name[]) {
    handlers.set(name, (await import(`../../functions/${name}.ts`)).handler);
  }
  const instance: Instance = {
    call: (name, request = {}) => {
      const handler = handlers.get(name);
      if (!handler) throw new Error(`There is no function ${name}`);
      return invoke(handler, name, request);
    },
    access: await import("../../lib/access/membership.ts"),
    sweep: (await import("../../lib/chat/sweep/sweep.ts")).sweep,
    close: async () => {
      instances.delete(instance);
      await closeAll();
    },
  };
  instances.add(instance);
  return instance;
}

/** A request of the subaccount's owner. */
export const owned = ({ owner, subaccountId }: World) => ({ token: owner.token, subaccountId });

/** Creates a chat through an instance. Returns its id. */
export async function aChatBy({ call }: Instance, world: World): Promise<string> {
  const { status, body } = await call("create", { ...owned(world), body: { agentId: world.agentId } });
  expect([status, body.code]).toEqual([200, undefined]);
  return body.data.chat_id;
}

/** Status and code, which is undefined on success. */
export const verdict = ({ status, body }: Response) => [status, body.code];

/** The lines that an answer's request has logged, of one level. */
export const logOf = ({ body }: Response, level: "WARN" | "ERROR") =>
  linesOf(body.meta.operationId).filter((line) => line.level === level);
