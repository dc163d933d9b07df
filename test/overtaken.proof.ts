import { MongoClient } from "mongodb";
import { afterAll, describe, expect, it } from "vitest";
import { startMongod } from "../dev/mongod.ts";
import { sleep } from "../lib/platform/time.ts";
import { aTenantOn } from "./support/tenant-on.ts";
import { aChatBy, anInstance, aWire, type Instance, owned, verdict } from "./support/wire.ts";
import { control, type World } from "./support/world.ts";

const wire = await aWire();
// A fail point is the whole server's: other files have theirs.
const mongod = await startMongod({ args: ["--setParameter", "enableTestCommands=1"] });
const client = new MongoClient(mongod.url);
afterAll(async () => {
  await client.close();
  await mongod.stop();
});
const aTenant = () => aTenantOn(client, mongod.url);
const messagesOf = ({ body }: { body: { data: { messages: Record<string, string>[] } } }) =>
  body.data.messages.map(({ role, delivery }) => [role, delivery]);
const aKey = () => ({ "idempotency-key": crypto.randomUUID() });

/**
 * MongoDB holds back one command for so long that its caller gives it up, and does it after all that the caller has
 * asked for since, as it may when it was stopped for seconds.
 */
async function holdBack(world: World, collection: string, work: () => Promise<unknown>): Promise<void> {
  const admin = world.db.client.db("admin");
  const namespace = `${world.db.databaseName}.${collection}`;
  const data = { failCommands: ["findAndModify"], namespace, blockConnection: true, blockTimeMS: 4_000 };
  await admin.command({ configureFailPoint: "failCommand", mode: { times: 1 }, data });
  const until = Date.now() + 4_500;
  await work();
  await sleep(until - Date.now());
  await wire.quiet();
}

describe("what MongoDB does after it was given up", () => {
  it("begins no turn: the chat is free, and the message was not sent", async () => {
    const world = await aTenant();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world), body: { content: "ping" } };
    const headers = aKey();
    await holdBack(world, "chats", async () => {
      expect(verdict(await instance.call("message", { ...request, headers }))).toEqual([503, "CONNECTION_FAILED"]);
    });
    const again = await instance.call("message", { ...request, headers });
    expect([...verdict(again), again.headers["idempotent-replayed"]]).toEqual([200, undefined, undefined]);
    expect(messagesOf(await instance.call("transcript", request))).toEqual([
      ["agent", undefined],
      ["user", undefined],
      ["agent", undefined],
    ]);
  });

  it("takes no key of a create: its repeat creates the chat at once", async () => {
    const world = await aTenant();
    const instance: Instance = await anInstance();
    const request = { ...owned(world), body: { agentId: world.agentId }, headers: aKey() };
    await holdBack(world, "chatrequests", async () => {
      expect(verdict(await instance.call("create", request))).toEqual([503, "CONNECTION_FAILED"]);
    });
    const again = await instance.call("create", request);
    expect(verdict(again)).toEqual([200, undefined]);
    const replayed = await instance.call("create", request);
    expect([replayed.body.data.chat_id, replayed.headers["idempotent-replayed"]]).toEqual([
      again.body.data.chat_id,
      "true",
    ]);
    const { chats } = await control("retell", "GET", `/chats?key=${world.apiKey}`);
    expect(chats).toHaveLength(1);
  });
});
