import "./support/own-retell.ts";
import { MongoClient, ObjectId } from "mongodb";
import { afterEach, describe, expect, it, vi } from "vitest";
import { aLog } from "./support/log.ts";
import { aChatBy, anInstance, type Instance, owned, verdict } from "./support/wire.ts";
import { aWorld, central, control, fault, type World } from "./support/world.ts";

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  vi.useRealTimers();
  await Promise.all(open.splice(0).map((one) => one.close()));
});

const minuteMs = 60_000;

/** An instance of the stage that has the chats. */
async function anOriginal(): Promise<Instance> {
  const instance = await anInstance();
  open.push(instance);
  return instance;
}

/** An instance of another stage, on a copy of the central database that was made before there were chats. */
async function aCopyOf(world: World): Promise<Instance> {
  const url = new URL(process.env.MONGODB_URL ?? "");
  url.pathname = `/copy_${crypto.randomUUID().slice(0, 8)}`;
  const client = new MongoClient(url.toString());
  for (const name of ["subaccounts", "retellaccounts", "usersubaccounts"]) {
    const own = { [name === "subaccounts" ? "_id" : "subaccountId"]: new ObjectId(world.subaccountId) };
    for await (const document of central.collection(name).find(own)) {
      const copied = { ...document, ...(document.databaseName ? { databaseName: `copy_${world.subaccountId}` } : {}) };
      await client.db().collection(name).insertOne(copied);
    }
  }
  await client.db(`copy_${world.subaccountId}`).collection("chatagents").insertOne({
    agentId: world.agentId,
    subaccountId: world.subaccountId,
  });
  const instance = await anInstance({ STAGE: "copy", MONGODB_URL: url.toString() });
  open.push(instance, client);
  return instance;
}

const statusOf = async (chatId: string) => (await control("retell", "GET", `/chats/${chatId}`)).status;
const change = (chatId: string, body: object) => control("retell", "PATCH", `/chats/${chatId}`, body);
const idsAtRetell = async (world: World): Promise<string[]> =>
  (await control("retell", "GET", `/chats?key=${world.apiKey}`)).chats.map(
    ({ chat_id }: { chat_id: string }) => chat_id,
  );

/** A create with a key whose answer is lost. Until it is repeated, only Retell may know the chat. */
async function loseCreate(world: World, by: Instance, effect?: "before"): Promise<void> {
  await fault(world, "create", { kind: "drop", ...(effect ? { effect } : {}) });
  expect(verdict(await createBy(world, by))).toEqual([504, "TIMEOUT"]);
}

const createBy = (world: World, by: Instance) =>
  by.call("create", { ...owned(world), body: { agentId: world.agentId }, headers: { "idempotency-key": "k1" } });

describe("a stage that runs on a copy of another's data", () => {
  it("ends none of its chats at Retell, nor one that says no stage", async () => {
    const [world, original] = [await aWorld(), await anOriginal()];
    const [chatId, older] = [await aChatBy(original, world), await aChatBy(original, world)];
    await change(older, { metadata: { _scalai_chat: { subaccountId: world.subaccountId } } });
    const copy = await aCopyOf(world);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 20 * minuteMs });
    const bounds = { until: Date.now() + minuteMs, perSubaccount: 100 };
    expect(await copy.sweep(bounds, aLog("sweep"))).toMatchObject({ orphansEnded: 0, failed: 0 });
    vi.useRealTimers();
    expect(await Promise.all([chatId, older].map(statusOf))).toEqual(["ongoing", "ongoing"]);
    const send = { ...owned(world), chatId, body: { content: "still there?" } };
    expect((await original.call("message", send)).status).toBe(200);
  });

  it("does not take over the chat of its create, should the same user use the same key", async () => {
    const [world, original] = [await aWorld(), await anOriginal()];
    await loseCreate(world, original, "before");
    const [chatId] = await idsAtRetell(world);
    const copy = await aCopyOf(world);
    await loseCreate(world, copy);
    expect(verdict(await createBy(world, copy))).toEqual([409, "REQUEST_IN_PROGRESS"]);
    const taken = await createBy(world, original);
    expect([taken.body.data.chat_id, taken.headers["idempotent-replayed"]]).toEqual([chatId, "true"]);
  });
});

it("a create with a key finds its chat, also when it was begun before chats said their stage", async () => {
  const [world, original] = [await aWorld(), await anOriginal()];
  await loseCreate(world, original, "before");
  const [chatId = ""] = await idsAtRetell(world);
  const { metadata } = await control("retell", "GET", `/chats/${chatId}`);
  const { stage: _later, ...ids } = metadata._scalai_chat;
  await change(chatId, { metadata: { _scalai_chat: ids } });
  expect((await createBy(world, original)).body.data.chat_id).toBe(chatId);
});
