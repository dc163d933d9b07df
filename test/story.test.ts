import "./support/own-retell.ts";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { sign } from "retell-sdk/lib/webhook_auth";
import { expect, it } from "vitest";
import { handler as sweep } from "../functions/sweep.ts";
import { lifeOf } from "../ops/logs/life.ts";
import { storyOf } from "../ops/logs/story.ts";
import { logged } from "./support/instance.ts";
import { tool } from "./support/tool.ts";
import { aChat, aWorld, call, control, fault } from "./support/world.ts";

/** Without times of day and durations, which differ from run to run. */
const stepsOf = (operationId: string) =>
  storyOf(logged.join("\n"), operationId)
    ?.split("\n\n")[1]
    ?.replaceAll(/\d\d:\d\d:\d\d\.\d{3} +\+\d+ m?s {2}/g, "")
    .replaceAll(/\d+ ms/g, "N ms")
    .split("\n");

const world = await aWorld();
const where = { token: world.owner.token, subaccountId: world.subaccountId };

it("tells of a message from its coming to its unknown end, and how the sweep settled it later", async () => {
  const chatId = await aChat(world);
  await fault(world, "completion", { kind: "late", ms: 60_000 });
  const lost = await call("message", { ...where, chatId, body: { content: "ping" }, remainingMs: 5_300 });
  const { operationId } = lost.body.meta;
  const turn = lost.body.details.turnId;
  await control("retell", "POST", "/clock", { advanceMs: 60_000 });
  await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { "internal.nextSweepAt": new Date(0) } });
  await sweep();

  const steps = stepsOf(operationId) ?? [];
  expect(steps.slice(0, -1)).toEqual([
    "came",
    "was admitted: token, limits, permission",
    "had waited for MongoDB N ms, for Retell N ms",
    `its turn ${turn} is unknown`,
    expect.stringMatching(/^was answered 504 MESSAGE_SEND_FAILED {1,2}\(\w+/),
  ]);
  expect(steps.at(-1)).toMatch(/^turn settled: delivered, by sweep [0-9a-f-]{36}$/);
});

it("is told of a sweep of npm run ops, too, where it writes into the log", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "scalai-log-")), "gateway.log");
  const program = (name: string, room = "dev") => JSON.stringify(new URL(`../${room}/${name}`, import.meta.url).href);
  const code = `
    const { logInto } = await import(${program("start/log-file.ts")});
    logInto(${JSON.stringify(file)});
    const { dispatch } = await import(${program("dispatch.ts", "ops")});
    const { ops } = await import(${program("main.ts", "ops")});
    await dispatch(ops, ["sweep", "--yes"]);
    console.log("Done");`;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", code]);
  const log = await readFile(file, "utf8");
  await rm(dirname(file), { recursive: true });
  expect(
    log
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toEqual([expect.objectContaining({ message: "Swept" }), expect.objectContaining({ Sweeps: 1 })]);
  expect(stdout).toContain(log.split("\n")[0]);
  expect(stdout).toContain("Done");
});

it("tells who asked for what, and where it went", async () => {
  const { body } = await call("list", where);
  const story = storyOf(logged.join("\n"), body.meta.operationId);
  expect(story).toContain("list: GET /api/chats/{subaccountId}/list");
  for (const known of [body.meta.operationId, world.owner.id, world.subaccountId]) expect(story).toContain(known);
  expect(stepsOf(body.meta.operationId)?.slice(-2)).toEqual([
    "had waited for MongoDB N ms, for Retell N ms; cache miss",
    "was answered 200",
  ]);
});

/** The steps of a chat's life, without times, and with names in place of operationIds. */
function lifeStepsOf(chatId: string, names: Record<string, string>) {
  const steps = lifeOf(logged.join("\n"), chatId)?.split("\n\n")[1] ?? "";
  return Object.entries(names)
    .reduce((text, [id, name]) => text.replaceAll(id, name), steps)
    .replaceAll(/^\S+ \S+ {2}/gm, "")
    .replaceAll(/\d+ ms/g, "N ms")
    .replaceAll(/ {2,}/g, "  ")
    .split("\n");
}

it("tells a chat's whole life: requests, webhooks, and what the sweep settled", async () => {
  const chatId = await aChat(world);
  const other = await aChat(world);
  const names: Record<string, string> = {};
  const ask = async (as: string, name: "message" | "end" | "transcript" | "webhook", request: object) => {
    const { body } = await call(name, { ...where, chatId, ...request });
    names[body.meta.operationId] = as;
    return body;
  };
  await ask("THE FIRST", "message", { body: { content: "ping" } });
  await fault(world, "completion", { kind: "late", ms: 60_000 });
  await ask("THE LOST", "message", { body: { content: "ping" }, remainingMs: 5_300 });
  await control("retell", "POST", "/clock", { advanceMs: 60_000 });
  await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { "internal.nextSweepAt": new Date(0) } });
  await sweep();
  await ask("THE END", "end", {});
  await ask("THE READ", "transcript", {});
  const event = JSON.stringify({
    event: "chat_ended",
    chat: { chat_id: chatId, agent_id: world.agentId, chat_status: "ended" },
  });
  await ask("RETELL", "webhook", {
    body: event,
    token: undefined,
    headers: { "x-retell-signature": await sign(event, world.apiKey) },
  });
  await call("end", { ...where, chatId: other });

  expect(lifeStepsOf(chatId, names)).toEqual([
    expect.stringMatching(/^create {2}200, N ms {2}[0-9a-f-]{36}$/),
    "message  200, N ms, its turn is delivered  THE FIRST",
    expect.stringMatching(/^message {2}504 MESSAGE_SEND_FAILED, N ms, its turn is unknown \(.+\) {2}THE LOST$/),
    expect.stringMatching(/^sweep {2}turn settled: delivered, by [0-9a-f-]{36} {2}THE LOST$/),
    "end  200, N ms  THE END",
    "transcript  200, N ms, cache miss  THE READ",
    "webhook  chat_ended, taken in, 200, N ms  RETELL",
  ]);
  const life = lifeOf(logged.join("\n"), chatId);
  for (const id of [chatId, world.subaccountId, world.agentId, world.owner.id]) expect(life).toContain(id);
  expect(life).not.toContain(other);
});

it("tells in a life that the sweep found the chat over", async () => {
  const chatId = await aChat(world);
  await control("retell", "POST", "/clock", { advanceMs: 2 * 3_600_000 });
  await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { "internal.nextSweepAt": new Date(0) } });
  await sweep();
  await sweep();
  expect(lifeStepsOf(chatId, {})).toEqual([
    expect.stringMatching(/^create/),
    expect.stringMatching(/^sweep {2}A chat was found over {2}[0-9a-f-]{36}$/),
  ]);
});

it("tells in a life what a request noted before it knew its chat, of the tools' lines alone what is the chat's", () => {
  const operationId = crypto.randomUUID();
  const line = (fields: object) =>
    JSON.stringify({
      level: "INFO",
      message: "Request",
      timestamp: new Date(1e12).toISOString(),
      service: "scalai-chat",
      operationId,
      operation: "create",
      ...fields,
    });
  const sweeps = { operation: "sweep", operationId: crypto.randomUUID() };
  const log = [
    line({ level: "WARN", message: "Cache not read" }),
    line({ level: "DEBUG", message: "Cache read" }),
    line({ status: 200, duration: 5, chatId: "chat_1" }),
    line({ ...sweeps, level: "WARN", message: "Odd", chatId: "chat_1" }),
    line({ ...sweeps, message: "Swept" }),
    line({ ...sweeps, level: "WARN", message: "Odd", chatId: "chat_2" }),
  ].join("\n");
  expect(lifeOf(log, "chat_1")?.split("\n")).toEqual([
    "chat_1",
    "",
    `2001-09-09 01:46:39.995  create      200, 5 ms  ${operationId}`,
    `2001-09-09 01:46:40.000  create      WARN: Cache not read  ${operationId}`,
    `2001-09-09 01:46:40.000  sweep       WARN: Odd  ${sweeps.operationId}`,
  ]);
  expect(lifeOf(log, "chat_3")).toBeUndefined();
});

it("is told by npm run ops -- logs, which says in a line why it could not", async () => {
  const folder = await mkdtemp(join(tmpdir(), "scalai-log-"));
  const file = join(folder, "gateway.log");
  const logs = (...args: string[]) => tool("logs", [...args, "--file", file]);
  const { body } = await call("list", where);
  const chatId = await aChat(world);
  await writeFile(file, logged.join("\n"));
  expect(await logs(body.meta.operationId)).toMatchObject({ code: 0, stderr: "" });
  expect(await logs("--chat", chatId)).toMatchObject({ code: 0, stdout: expect.stringContaining("create") });
  for (const args of [[], ["--bad"], ["--chat", "chat_nobodys"], [crypto.randomUUID()]]) {
    const { code, stdout, stderr } = await logs(...args);
    expect([code, stdout, stderr.trimEnd().split("\n").length]).toEqual([1, "", 1]);
  }
  await rm(folder, { recursive: true });
});

it("tells nothing of a request that the log does not know, and passes over what is no line of it", () => {
  expect(storyOf(`${logged.join("\n")}\nhello\n{broken\n{"_aws":{}}`, crypto.randomUUID())).toBeUndefined();
});
