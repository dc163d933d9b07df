import { Redis, type RedisConfigNodejs } from "@upstash/redis";
import { startUpstashEmulator } from "../../src/index.ts";

/** What `POST /` and its like answer. */
export interface Answer {
  status: number;
  body: unknown;
}

export const result = (value: unknown): Answer => ({ status: 200, body: { result: value } });
export const refused = (error: unknown): Answer => ({ status: 400, body: { error } });

/** An emulator, and ways to ask it. */
export async function anEmulator() {
  const emulator = await startUpstashEmulator();
  const client = (config: Partial<RedisConfigNodejs> = {}) =>
    new Redis({ ...emulator, retry: { retries: 0 }, enableTelemetry: false, ...config });

  function send(path: string, body?: unknown, init: RequestInit = {}): Promise<Response> {
    const headers = { authorization: `Bearer ${emulator.token}`, ...init.headers };
    const content = typeof body === "string" || body === undefined ? body : JSON.stringify(body);
    return fetch(emulator.url + path, { method: "POST", ...init, headers, body: content ?? null });
  }

  async function ask(path: string, body?: unknown, init: RequestInit = {}): Promise<Answer> {
    const response = await send(path, body, init);
    return { status: response.status, body: await response.json() };
  }

  function control(path: string, body?: unknown): Promise<Response> {
    return fetch(`${emulator.url}/_control/${path}`, { method: "POST", body: JSON.stringify(body) ?? null });
  }

  return {
    ...emulator,
    client,
    redis: client(),
    send,
    ask,
    run: (...command: unknown[]) => ask("/", command),
    control,
    async stats() {
      const response = await fetch(`${emulator.url}/_control/stats`);
      return (await response.json()) as { requests: number; commands: number; byCommand: Record<string, number> };
    },
    /** Removes all data, counts and faults. */
    async reset() {
      await control("fault", { kind: "none" });
      await control("flush");
      await control("stats/reset");
    },
  };
}
