import "./support/own-retell.ts";
import "./support/apart.ts";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { storyOf } from "../dev/logs/story.ts";
import { handler as sweep } from "../functions/sweep.ts";
import { logged } from "./support/instance.ts";
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
  await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { "internal.due": new Date(0) } });
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

it("is told of a tool's sweep, too, where the tool writes into the log", async () => {
  const file = join(await mkdtemp(join(tmpdir(), "scalai-log-")), "gateway.log");
  const program = (name: string) => JSON.stringify(new URL(`../dev/${name}`, import.meta.url).href);
  const code = `
    const { logInto } = await import(${program("start/log-file.ts")});
    logInto(${JSON.stringify(file)});
    await import(${program("sweep.ts")});
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

it("tells nothing of a request that the log does not know, and passes over what is no line of it", () => {
  expect(storyOf(`${logged.join("\n")}\nhello\n{broken\n{"_aws":{}}`, crypto.randomUUID())).toBeUndefined();
});
