import { type Document, ObjectId } from "mongodb";
import { describe, expect, it } from "vitest";
import { decrypt } from "../lib/platform/crypto.ts";
import { fence, fencedIn, mayFence, unfence } from "../ops/subaccount/fence.ts";
import { at, read, send } from "./support/chats.ts";
import { linesOf } from "./support/instance.ts";
import { tool } from "./support/tool.ts";
import { anInstance } from "./support/wire.ts";
import { aChat, aWorld, call, central, type World } from "./support/world.ts";

const own = ({ subaccountId }: World) => ({ _id: new ObjectId(subaccountId) });
const documentOf = (world: World): Promise<Document | null> => central.collection("subaccounts").findOne(own(world));
const databaseOf = (world: World, name: string) => central.client.db(`${name}_${world.subaccountId}`);

const move = (world: World, args: string[] = [], env: NodeJS.ProcessEnv = {}) =>
  tool("subaccount move", ["--subaccount", world.subaccountId, ...args, "--yes"], env);
/** As if a move had been announced long ago, so that no instance has a copy from before. */
const announced = (world: World) =>
  central.collection("subaccounts").updateOne(own(world), { $set: { chatMove: { at: new Date(0) } } });
const to = (world: World, name = "to") => ["--database", databaseOf(world, name).databaseName];

const all = (world: World, name: string) =>
  databaseOf(world, name).collection<Document>("chats").find().sort({ _id: 1 }).toArray();

describe("a subaccount that is moved", () => {
  it("has everything in the new database, byte for byte, and its chats go on there", async () => {
    const world = await aWorld();
    const chatId = await aChat(world, { metadata: { long: 2 ** 40, int: 1 } });
    await send(world, chatId, "said before");
    await world.db.collection("chats").insertOne({ subaccountId: "another", chat_id: "chat_of_another" });
    const before = await world.db.collection("chats").find({ subaccountId: world.subaccountId }).toArray();
    await announced(world);
    const { code, stdout } = await move(world, to(world));
    expect(stdout).toMatch(/: moved; requests were refused for \d\.\d s\n.* refuses their writes/);
    expect(code).toBe(0);
    expect(await all(world, "to")).toEqual(before);
    expect(await documentOf(world)).not.toHaveProperty("chatPause");
    expect(await documentOf(world)).not.toHaveProperty("chatMove");

    expect((await send(world, chatId, "said after")).status).toBe(200);
    expect((await read(world, chatId)).body.data.messages).toHaveLength(5);
    expect(await world.db.collection("chats").find({ subaccountId: world.subaccountId }).toArray()).toEqual(before);
  });

  it("can be on another cluster, whose address is stored encrypted, and come back", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const url = `${process.env.MONGODB_URL}&appName=other`;
    await announced(world);
    expect(await move(world, to(world), { SUBACCOUNT_MONGODB_URL: url })).toMatchObject({ code: 0 });
    const { mongodbUrl } = (await documentOf(world)) ?? {};
    expect(await decrypt({ text: mongodbUrl }, world.subaccountId, "subaccount-salt")).toBe(url);
    await send(world, chatId, "said there");
    await announced(world);
    expect(await move(world, [...to(world, "t"), "--central-cluster"])).toMatchObject({ code: 0 });
    expect((await documentOf(world))?.mongodbUrl).toBeUndefined();
    await send(world, chatId, "said back");
    expect((await read(world, chatId)).body.data.messages).toHaveLength(5);
  });

  it("has its address in the old server's form with --for-old-server", async () => {
    const world = await aWorld();
    const url = `${process.env.MONGODB_URL}&appName=other`;
    await announced(world);
    await move(world, [...to(world), "--for-old-server"], { SUBACCOUNT_MONGODB_URL: url });
    const { mongodbUrl: text, encryptionIV: iv, encryptionAuthTag } = (await documentOf(world)) ?? {};
    expect([encryptionAuthTag, text]).toEqual(["cbc-mode", expect.stringMatching(/^[0-9a-f]+$/)]);
    expect(await decrypt({ text, iv }, world.subaccountId, "subaccount-salt")).toBe(url);
  });

  it("loses no write of an instance that has the old address: it is refused, and told to repeat", async () => {
    const world = await aWorld();
    const instance = await anInstance({ UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9" }); // it learns of nothing
    const chatId = await aChat(world);
    const request = { ...at(world, chatId), body: { content: "ping" }, headers: { "idempotency-key": "late" } };
    expect((await instance.call("list", at(world, ""))).status).toBe(200);
    await announced(world);
    await move(world, to(world));
    const late = await instance.call("message", request);
    expect([late.status, late.body.code]).toEqual([503, "CONNECTION_FAILED"]);
    expect((await call("message", request)).status).toBe(200);
    const { messages } =
      (await databaseOf(world, "to").collection("chats").findOne<Document>({ chat_id: chatId })) ?? {};
    expect(messages.filter(({ role }: { role: string }) => role === "user")).toHaveLength(1);
    // An operator's doing: nobody is paged for it.
    const lines = linesOf(late.body.meta.operationId);
    expect(lines.filter((line) => "MongoFailures" in line || "Failures" in line)).toEqual([]);
    expect(lines).toContainEqual(expect.objectContaining({ code: "CONNECTION_FAILED", tenantCause: "paused" }));
  });

  it("is not looked for in the old database by an instance that learns of nothing from Redis", async () => {
    const world = await aWorld();
    const instance = await anInstance({ UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9" });
    await announced(world);
    expect((await instance.call("list", at(world, ""))).status).toBe(200);
    await move(world, to(world));
    const { status } = await instance.call("transcript", at(world, await aChat(world)));
    expect(status).toBe(200);
  });

  it("is announced, and moved once no instance has an older copy of its address", async () => {
    const world = await aWorld();
    const { stdout } = await move(world, to(world), { PERMISSION_CACHE_SECONDS: "1" });
    expect(stdout).toMatch(/waiting 2 s, until every instance knows of it\n(.*\n)*.*: moved; /);
  });

  it("shares a database with others, who are not affected", async () => {
    const databaseName = `shared_${new ObjectId().toHexString()}`;
    const [moved, stays] = [
      await aWorld({ subaccount: { databaseName } }),
      await aWorld({ subaccount: { databaseName } }),
    ];
    const shared = central.client.db(databaseName);
    for (const { agentId, subaccountId } of [moved, stays]) {
      await shared.collection("chatagents").insertOne({ agentId, subaccountId });
    }
    const create = (world: World) =>
      call("create", { ...at(world, ""), body: { agentId: world.agentId }, headers: { "idempotency-key": "k" } });
    const [chat, other] = [(await create(moved)).body.data.chat_id, (await create(stays)).body.data.chat_id];
    await announced(moved);
    expect(await move(moved, to(moved))).toMatchObject({ code: 0 });
    const keys = await databaseOf(moved, "to").collection<Document>("chatrequests").find().toArray();
    expect(keys).toMatchObject([{ subaccountId: moved.subaccountId, chat_id: chat }]);
    expect((await create(moved)).headers["idempotent-replayed"]).toBe("true");
    expect((await all(moved, "to")).map(({ chat_id }) => chat_id)).toEqual([chat]);
    expect((await send(stays, other)).status).toBe(200);
    expect((await send(moved, chat)).status).toBe(200);
  });
});

describe("a move is refused, and changes nothing,", () => {
  const refused = async (world: World, args: string[], reason: RegExp, env: NodeJS.ProcessEnv = {}) => {
    const before = await documentOf(world);
    const { code, stderr } = await move(world, args, env);
    expect([code, stderr]).toEqual([1, expect.stringMatching(reason)]);
    expect(stderr).not.toContain("password");
    expect(await documentOf(world)).toEqual(before);
  };

  it("to where it is, and to a database that has chats of its own", async () => {
    const world = await aWorld();
    await refused(world, to(world, "t"), /It is there already/);
    await databaseOf(world, "to")
      .collection("chats")
      .insertOne({ subaccountId: world.subaccountId, chat_id: "chat_x" });
    await refused(world, to(world), /no move has put there/);
  });

  it("by an address that does not answer, and by a name that is none", async () => {
    const world = await aWorld();
    const env = { SUBACCOUNT_MONGODB_URL: "mongodb://user:password@127.0.0.1:9/?serverSelectionTimeoutMS=100" };
    await refused(world, to(world), /SUBACCOUNT_MONGODB_URL: is the address right/, env);
    await refused(world, ["--database", "a.b"], /letters, digits/);
    await refused(world, [], /--database TEXT is missing/);
  });

  it("of a database with other collections, or with a validator of somebody else's", async () => {
    const world = await aWorld();
    await world.db.collection("invoices").insertOne({});
    await refused(world, to(world), /Other collections are not copied/);
    await world.db.command({ collMod: "chats", validator: { chat_id: { $type: "string" } } });
    await refused(world, [...to(world), "--leave-others"], /has a validator of its own/);
  });

  it("of one that is paused", async () => {
    const world = await aWorld();
    await tool("pause", ["--subaccount", world.subaccountId, "--yes"]);
    await refused(world, to(world), /It is paused/);
  });
});

it("several subaccounts of a database can be fenced at a time, and none of the fences is lost", async () => {
  const db = central.client.db(`fenced_${new ObjectId().toHexString()}`);
  await mayFence(db);
  const ids = Array.from({ length: 6 }, () => new ObjectId().toHexString());
  await Promise.all(ids.map((id) => fence(db, id)));
  expect((await fencedIn(db)).sort()).toEqual(ids.sort());
  const [stays, ...others] = ids;
  await Promise.all(others.map((id) => unfence(db, id)));
  expect(await fencedIn(db)).toEqual([stays]);
});

it("a move that was interrupted can be taken back, or gone on with", async () => {
  const world = await aWorld();
  const chatId = await aChat(world);
  const interrupted = async () => {
    const chatPause = { at: new Date(), requests: true, isOfMove: true };
    await announced(world);
    await central.collection("subaccounts").updateOne(own(world), { $set: { chatPause } });
    await world.db.command({ collMod: "chats", validator: { subaccountId: { $nin: [world.subaccountId] } } });
  };
  await interrupted();
  expect(await tool("resume", ["--subaccount", world.subaccountId, "--yes"])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/its move was not finished: repeat .* subaccount move, .*--undo/),
  });
  expect((await documentOf(world))?.chatPause).toMatchObject({ isOfMove: true });
  expect(await move(world, ["--undo"])).toEqual({
    code: 0,
    stderr: expect.stringMatching(/^Stage/),
    stdout: expect.stringMatching(/writes are taken again, the pause ends/),
  });
  expect((await send(world, chatId)).status).toBe(200);
  await interrupted();
  expect(await move(world, to(world))).toMatchObject({ code: 0 });
  expect((await send(world, chatId)).status).toBe(200);
  expect(await move(world, ["--undo"])).toMatchObject({ stdout: expect.stringMatching(/nothing to take back/) });
});
