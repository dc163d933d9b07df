/** `npm start` in real processes that are killed in many ways. `start.test.ts` has the quick tests. */
import { execFile } from "node:child_process";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { decodeJwt, SignJWT } from "jose";
import { MongoClient } from "mongodb";
import { afterEach, describe, expect, inject, test } from "vitest";
import * as z from "zod";
import { environmentOf, running } from "../dev/start/running.ts";
import { storyOf } from "../ops/logs/story.ts";
import { folder } from "./support/folder.ts";
import { endAll, npmStart, run, shells } from "./support/npm-start.ts";
import { gone, killOne } from "./support/processes.ts";

const Url = z.url({ protocol: /^http$/, hostname: /^127\.0\.0\.1$/ });
const Token = z.jwt();

const DevJson = z.strictObject({
  url: Url,
  subaccountId: z.string().regex(/^[0-9a-f]{24}$/),
  agentId: z.string().min(1),
  tokens: z.strictObject({ owner: Token, viewer: Token, formerMember: Token, stranger: Token, superAdmin: Token }),
  services: z.strictObject({
    mongodb: z.string().startsWith("mongodb://127.0.0.1:"),
    upstash: z.strictObject({ url: Url, token: z.string().min(1) }),
    retell: z.strictObject({ url: Url, control: Url }),
  }),
});

afterEach(endAll);

interface Caller {
  url: string;
  subaccountId: string;
  tokens: { owner: string };
}

async function call({ url, subaccountId, tokens }: Caller, path: string, body?: object) {
  const response = await fetch(`${url}/api/chats/${subaccountId}/${path}`, {
    method: body ? "POST" : "GET",
    headers: { authorization: `Bearer ${tokens.owner}`, "content-type": "application/json" },
    body: body ? JSON.stringify(body) : null,
  });
  const { data, meta } = z
    .looseObject({ data: z.any(), meta: z.any() })
    .partial()
    .parse(await response.json());
  return { status: response.status, data, meta };
}

describe("npm start", () => {
  test("says in dev.json what runs, to its owner alone, as long as it runs", async () => {
    const { about, kill } = await npmStart(folder);
    expect(DevJson.parse(about)).toEqual(about);
    for (const file of ["dev.json", "secrets.json", "gateway.log", "services.log"]) {
      expect([file, (await stat(join(folder, file))).mode & 0o777]).toEqual([file, 0o600]);
    }
    expect((await fetch(`${about.url}/health`)).status).toBe(200);

    expect((await kill("SIGINT")).code).toBe(0);
    expect(await readdir(folder)).not.toContain("dev.json");
  });

  test("is what the operators' tools work on, as long as it runs, where nothing else is named", async () => {
    const { about, kill } = await npmStart(folder);
    expect(await running(folder)).toEqual(about);
    const report = run(
      "../ops/main.ts",
      ["report", "--subaccount", about.subaccountId, "--json"],
      await environmentOf(about, folder),
    );
    const { code, stdout } = await report.ended;
    expect([code, JSON.parse(stdout).subaccountId]).toEqual([0, about.subaccountId]);

    await kill("SIGKILL"); // it leaves its dev.json behind
    expect(await running(folder)).toBeUndefined();
  });

  test("takes back a log that others could read", async () => {
    await writeFile(join(folder, "gateway.log"), "older\n", { mode: 0o644 });
    await npmStart(folder);
    expect((await stat(join(folder, "gateway.log"))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(folder, "gateway.log"), "utf8")).toMatch(/^older\n/);
  });

  test("is written to by npm run local -- seed without a question", async () => {
    await npmStart(folder);
    const seeded = await run("local.ts", ["seed", "--data", folder, "--chats", "2"], {}).ended;
    expect([seeded.code, seeded.stderr]).toEqual([
      0,
      expect.stringMatching(/^Stage local: MongoDB 127\.0\.0\.1:\d+\/\w+\n$/),
    ]);
  });

  test("makes no tokens with a secret that it was given, and says what to use instead", async () => {
    const JWT_SECRET = "a secret that signs tokens elsewhere, too";
    const { about, output, kill } = await npmStart(folder, { env: { JWT_SECRET } });
    expect(about.tokens).toEqual({ owner: "", viewer: "", formerMember: "", stranger: "", superAdmin: "" });
    expect(JSON.stringify(output) + (await readFile(join(folder, "secrets.json"), "utf8"))).not.toContain("eyJ");
    expect(output.stderr).toContain("JWT_SECRET is set, so no tokens were made");
    const ownerId = /the demo's owner has the id ([0-9a-f]{24})/.exec(output.stderr)?.[1];

    const lines = output.stderr.split("\n").filter((line) => /^(CHAT=|curl )/.test(line));
    expect(lines).toHaveLength(3);
    const token = new SignJWT({ id: ownerId }).setProtectedHeader({ alg: "HS256" }).setExpirationTime("1h");
    const TOKEN = await token.sign(new TextEncoder().encode(JWT_SECRET));
    const { stdout } = await promisify(execFile)("bash", ["-c", lines.join("\n")], { env: { ...process.env, TOKEN } });
    expect(stdout).toContain("Message sent successfully");
    await kill("SIGINT");

    const { about: own } = await npmStart(folder, { env: { JWT_SECRET: " " } });
    expect((await call(own, "list")).status).toBe(200);
  });

  test("makes tokens that are valid for a day", async () => {
    const { about } = await npmStart(folder);
    for (const token of Object.values(about.tokens)) {
      const { exp = 0, iat = 0 } = decodeJwt(token);
      expect(exp - iat).toBe(86_400);
    }
  });

  test("shows three lines that, pasted one after another, create a chat, speak, and read its history", async () => {
    const { output } = await npmStart(folder);
    const lines = output.stderr.split("\n").filter((line) => /^(TOKEN=|curl )/.test(line));
    expect(lines).toHaveLength(3);

    for (const shell of shells()) {
      const { stdout, stderr } = await promisify(execFile)(shell, ["-c", lines.join("\n")]);
      expect(stderr).toContain("Chat created successfully");
      expect(stdout).toContain("Message sent successfully");
      expect(stdout).toContain("Chat transcript retrieved successfully");
      expect(stdout).toMatch(/"transcript": "Agent: .+\\nUser: Where is my order\?\\nAgent: .+\\n"/);
    }
  });

  test("has a user for every answer of the permission check", async () => {
    const { about } = await npmStart(folder);
    const statuses: Record<string, number[]> = {};
    for (const [user, owner] of Object.entries(about.tokens)) {
      const as = { ...about, tokens: { owner } };
      const read = await call(as, "list");
      const write = await call(as, "create", { agentId: about.agentId });
      statuses[user] = [read.status, write.status];
      expect(decodeJwt(owner)).toMatchObject({
        id: expect.any(String),
        email: expect.any(String),
        exp: expect.any(Number),
      });
    }
    expect(statuses).toEqual({
      owner: [200, 200],
      viewer: [200, 403],
      formerMember: [403, 403],
      stranger: [403, 403],
      superAdmin: [200, 200],
    });
  });

  test("keeps chats, Retell's memory and secrets over a restart", async () => {
    const first = await npmStart(folder);
    const { data: chat } = await call(first.about, "create", { agentId: first.about.agentId });
    await call(first.about, `${chat.chat_id}/message`, { content: "Where is my order?" });
    await first.kill("SIGTERM");

    const { about } = await npmStart(folder);
    const yesterday = { ...about, tokens: first.about.tokens };
    expect((await call(yesterday, "list")).data).toMatchObject([{ chat_id: chat.chat_id }]);
    expect((await call(yesterday, `${chat.chat_id}/message`, { content: "And now?" })).status).toBe(200);
    const { data: history } = await call(yesterday, `${chat.chat_id}/transcript`);
    expect(history.transcript).toMatch(/User: Where is my order\?\nAgent: .+\nUser: And now\?\nAgent: .+\n$/);
  });

  test("carries the gateway's JSON lines in a pipe, nothing else, and keeps them in gateway.log", async () => {
    const { about, kill } = await npmStart(folder);
    await call(about, "list");
    const { stdout } = await kill("SIGINT");
    const lines = stdout.trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      expect.objectContaining({ operation: "list", status: 200 }),
      expect.objectContaining({ Operation: "list", CacheMisses: 1 }),
    ]);
    expect(await readFile(join(folder, "gateway.log"), "utf8")).toBe(stdout);
  });

  test("sweeps by the clock, and keeps in gateway.log what became of a message then", async () => {
    const { about } = await npmStart(folder, { args: ["--sweep-seconds", "1"] });
    const { data: chat } = await call(about, "create", { agentId: about.agentId });
    const fault = JSON.stringify({ step: "completion", kind: "drop" });
    await fetch(`${about.services.retell.control}/faults`, { method: "POST", body: fault });
    const lost = await call(about, `${chat.chat_id}/message`, { content: "Where is my order?" });
    expect(lost.status).toBe(504);

    const client = new MongoClient(about.services.mongodb);
    const anHourLater = { "internal.nextSweepAt": new Date(0), "internal.turn.at": new Date(Date.now() - 3_600_000) };
    await client.db("demo_support").collection("chats").updateOne({ chat_id: chat.chat_id }, { $set: anHourLater });
    await client.close();
    const story = async () => storyOf(await readFile(join(folder, "gateway.log"), "utf8"), lost.meta.operationId);
    await expect.poll(story).toMatch(/turn settled: .+, by sweep [0-9a-f-]{36}$/);
  });

  test("writes nothing into a database of MONGODB_URL unless told to", async () => {
    const url = new URL(inject("environment").MONGODB_URL ?? "");
    url.pathname = `/somebodys_${Date.now()}`;
    const client = new MongoClient(url.href);
    const env = { MONGODB_URL: url.href };
    try {
      const { about, output, family, kill } = await npmStart(folder, { env });
      expect(about).toMatchObject({ subaccountId: "", agentId: "", services: { mongodb: url.href } });
      expect(output.stderr).not.toContain(url.href);
      expect(family().filter(({ args }) => args.includes("mongod"))).toEqual([]);
      expect(await client.db().listCollections().toArray()).toEqual([]);
      await kill("SIGINT");

      const seeded = await npmStart(folder, { env, args: ["--seed"] });
      expect(seeded.output.stderr).toContain(`Stage local: MongoDB ${url.host}${url.pathname}`);
      expect((await call(seeded.about, "list")).status).toBe(200);
      await seeded.kill("SIGINT");
    } finally {
      await client.db().dropDatabase();
      await client.db("demo_support").dropDatabase();
      await client.close();
    }
  });
});

describe("the end of npm start", () => {
  test.each(["SIGTERM", "SIGHUP"] as const)("%s: quietly, with everything gone", async (signal) => {
    const { family, kill, output, pid } = await npmStart(folder);
    const pids = family().map((child) => child.pid);
    expect(pids.length).toBeGreaterThanOrEqual(5);
    // Otherwise a terminal's signal ends them before we know that they are to end.
    expect(family().filter(({ group }) => group === pid)).toEqual([]);
    const before = output.stderr;
    expect(await kill(signal)).toEqual({ code: 0, stdout: "", stderr: before });
    await gone(pids);
    expect(await readdir(folder)).not.toContain("start.pid");
  });

  test("SIGKILL: everything goes, and the next start finds nothing in its way", async () => {
    const { family, kill } = await npmStart(folder);
    const pids = family().map(({ pid }) => pid);
    await kill("SIGKILL");
    await gone(pids);
    expect(await readdir(folder)).toContain("start.pid");
    await npmStart(folder);
  });

  test("SIGKILL of npm, which cannot pass it on: everything goes, too", async () => {
    const { family, kill } = await npmStart(folder, { npm: true });
    const pids = family().map(({ pid }) => pid);
    expect(pids.length).toBeGreaterThanOrEqual(6);
    void kill("SIGKILL");
    await gone(pids);
  });

  test("in the middle of a start: as quietly", async () => {
    const { family, kill, ended } = run("start.ts", ["--data", folder]);
    await expect.poll(() => family().some(({ args }) => args.includes("mongod"))).toBe(true);
    const pids = family().map(({ pid }) => pid);
    expect(await kill("SIGINT")).toEqual({ code: 0, stdout: "", stderr: "" });
    await ended;
    await gone(pids);
    await npmStart(folder);
  });

  test.each([
    { service: "mongod", program: /\/mongod\S* --replSet/, line: "mongod ended: signal SIGKILL" },
    { service: "upstash", program: /\/upstash-emulator\/src\/cli\.ts/, line: "upstash ended (SIGKILL)" },
    { service: "retell", program: /\/retell-simulator\/src\/cli\.ts/, line: "retell ended (SIGKILL)" },
    { service: "gateway", program: /\/gateway\.ts/, line: "gateway ended (SIGKILL)" },
  ])("a killed $service is said in one line, and ends it with exit code 1", async ({ program, line }) => {
    const { family, ended, output } = await npmStart(folder);
    const before = output.stderr;
    const all = family();
    const victim = all.find(({ args }) => program.test(args) && !args.includes("keeper.ts"));
    killOne(victim);
    const { code, stderr } = await ended;
    expect({ code, said: stderr.slice(before.length) }).toEqual({ code: 1, said: `${line}\n` });
    await gone(all.map(({ pid }) => pid));
  });
});

describe("the data folder", () => {
  test("has one npm start at a time, and is not emptied under it", async () => {
    const { pid, about } = await npmStart(folder);
    for (const [program, ...args] of [["start.ts"], ["local.ts", "reset"]] as const) {
      const { code, stderr } = await run(program, [...args, "--data", folder]).ended;
      expect(code).toBe(1);
      const said = stderr
        .trimEnd()
        .split("\n")
        .filter((line) => !line.startsWith("Folder "));
      expect(said).toEqual([expect.stringContaining(`process ${pid}`)]);
    }
    expect((await call(about, "list")).status).toBe(200);
  });

  test("is emptied of what is ours", async () => {
    const { kill } = await npmStart(folder);
    await kill("SIGINT");
    await writeFile(join(folder, "thesis.txt"), "not ours");
    expect((await run("local.ts", ["reset", "--data", folder]).ended).code).toBe(0);
    expect(await readdir(folder)).toEqual(["thesis.txt"]);
  });
});
