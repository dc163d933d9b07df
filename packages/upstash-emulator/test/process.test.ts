import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { Redis } from "@upstash/redis";
import { describe, expect, onTestFinished, test } from "vitest";
import { startUpstashEmulator, type UpstashEmulator } from "../src/index.ts";

const CLI = fileURLToPath(new URL("../src/cli.ts", import.meta.url));

async function launch(...args: string[]) {
  const child: ChildProcess = spawn(process.execPath, [CLI, ...args], { stdio: ["ignore", "ignore", "pipe", "ipc"] });
  const stderr = child.stderr ? text(child.stderr) : "";
  const [{ ready }] = await once(child, "message");
  return { child, about: ready as Omit<UpstashEmulator, "stop">, stderr };
}

async function redisPid({ url, token }: Omit<UpstashEmulator, "stop">): Promise<number> {
  const info = String(await new Redis({ url, token, automaticDeserialization: false }).exec(["INFO", "server"]));
  return Number(/process_id:(\d+)/.exec(info)?.[1]);
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("an emulator", () => {
  test("has a Redis and a token of its own", async () => {
    const [one, two] = await Promise.all([startUpstashEmulator(), startUpstashEmulator()]);
    await new Redis(one).set("a", 1);
    expect(await new Redis(two).get("a")).toBeNull();
    expect(one.token).toMatch(/^[0-9a-f]{48}$/);
    expect([one.url, one.token]).not.toEqual([two.url, expect.anything()]);
    await expect(new Redis({ ...two, token: one.token }).ping()).rejects.toThrow("WRONGPASS");
    expect(one.source).toMatch(/^(redis|valkey)-server \d+\.\S+ from /);
    await Promise.all([one.stop(), two.stop()]);
  });

  test("stops at once, whatever it still has to answer", async () => {
    const emulator = await startUpstashEmulator();
    const fault = JSON.stringify({ kind: "slow", ms: 600_000 });
    await fetch(`${emulator.url}/_control/fault`, { method: "POST", body: fault });
    const refusal = expect(new Redis({ ...emulator, retry: { retries: 0 } }).get("a")).rejects.toThrow("fetch failed");
    const stats = async () => (await fetch(`${emulator.url}/_control/stats`)).json();
    await expect.poll(stats).toMatchObject({ requests: 1 });
    await emulator.stop();
    await refusal;
    await expect(fetch(emulator.url)).rejects.toThrow("fetch failed");
  });

  test("keeps its data in a given folder, however it ends", async () => {
    const dataDir = await mkdtemp(join(tmpdir(), "upstash-emulator-test-"));
    onTestFinished(() => rm(dataDir, { recursive: true }));
    const first = await startUpstashEmulator({ dataDir });
    await new Redis(first).set("kept", "yes", { ex: 1000 });
    const firstPid = await redisPid(first);
    await first.stop();
    expect(isAlive(firstPid)).toBe(false);

    const { child, about } = await launch("--data", dataDir);
    expect(await new Redis(about).get("kept")).toBe("yes");
    await new Redis(about).set("kept", "still");
    const pid = await redisPid(about);
    child.kill("SIGKILL");
    await expect.poll(() => isAlive(pid)).toBe(false);

    const third = await startUpstashEmulator({ dataDir });
    expect(await new Redis(third).get("kept")).toBe("still");
    await third.stop();
  });

  test("whose Redis is gone answers 500", async () => {
    const lines: string[] = [];
    const emulator = await startUpstashEmulator({ onExit: (line) => lines.push(line) });
    process.kill(await redisPid(emulator), "SIGKILL");
    await expect.poll(() => lines).toEqual([expect.stringMatching(/^(redis|valkey)-server\S* ended/)]);
    const response = await fetch(`${emulator.url}/ping?_token=${emulator.token}`);
    expect([response.status, await response.json()]).toEqual([500, { error: expect.stringMatching(/^ERR /) }]);
    await emulator.stop();
  });

  test("whose Redis does not start fails with what Redis says", async () => {
    const start = startUpstashEmulator({ redisBinary: "/nowhere/redis-server" });
    await expect(start).rejects.toThrow(/redis-server ended: .*(not found|No such file)/);
  });
});

describe("the program", () => {
  test.each(["SIGKILL", "SIGTERM", "SIGINT"] as const)("takes its Redis with it on %s", async (signal) => {
    const { child, about } = await launch();
    const pid = await redisPid(about);
    expect(isAlive(pid)).toBe(true);
    child.kill(signal);
    await expect.poll(() => isAlive(pid)).toBe(false);
  });

  test("ends with the process that forked it", async () => {
    const { child } = await launch();
    child.disconnect();
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("ends with its Redis, with a line that says so", async () => {
    const { child, about, stderr } = await launch();
    process.kill(await redisPid(about), "SIGKILL");
    expect(await once(child, "exit")).toEqual([1, null]);
    expect(await stderr).toMatch(/^(redis|valkey)-server\S* ended/);
  });

  test("says where it listens, what to set and what to try", async () => {
    const child = spawn(process.execPath, [CLI, "--token", "mine"]);
    let said = "";
    for await (const chunk of child.stdout) {
      said += chunk;
      if (said.includes("Try it: ")) break;
    }
    const url = /^ {2}UPSTASH_REDIS_REST_URL=(http:\/\/127\.0\.0\.1:\d+)$/m.exec(said)?.[1] ?? "";
    expect(said).toMatch(/^ {2}UPSTASH_REDIS_REST_TOKEN=mine$/m);
    expect(await new Redis({ url, token: "mine" }).ping()).toBe("PONG");
    child.kill("SIGINT");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("says in one line that its port is in use", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    const port = typeof address === "object" ? address?.port : 0;
    const said = await ran("--port", String(port));
    other.close();
    expect(said).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(/^.*port.* in use.*\n$/) });
  });

  test("--help and --version say what they should", async () => {
    expect(await ran("--help")).toEqual({ code: 0, stdout: expect.stringMatching(/^Usage: .*--port N/s), stderr: "" });
    expect(await ran("--version")).toEqual({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), stderr: "" });
  });

  test.each([["--port", "many"], ["--port", "70000"], ["--token", "two words"], ["--data", ""], ["--nonsense"], ["x"]])(
    "refuses %s %s and says how it is used",
    async (...args) => {
      expect(await ran(...args)).toEqual({ code: 1, stdout: "", stderr: expect.stringMatching(/^.+\n\nUsage: /) });
    },
  );

  async function ran(...args: string[]) {
    const child = spawn(process.execPath, [CLI, ...args]);
    const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, "exit")]);
    return { code, stdout, stderr };
  }
});
