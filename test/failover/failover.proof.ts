import { setTimeout as delay } from "node:timers/promises";
import { MongoClient } from "mongodb";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { atRetell, heard } from "../support/chats.ts";
import { type Member, type ReplicaSet, startReplicaSet } from "../support/replica-set.ts";
import { aTenantOn } from "../support/tenant-on.ts";
import { owned, verdict } from "../support/wire.ts";
import { call, fault, type Name, type Request, type World } from "../support/world.ts";

/** What a connection string may say against what the API promises. */
const against = [
  "&w=1&wtimeoutMS=60000&journal=false&readConcernLevel=local&readPreference=secondary&maxStalenessSeconds=120",
  "&w=0&readConcernLevel=available&readPreference=nearest&readPreferenceTags=dc:ny",
];

const aKey = () => ({ "idempotency-key": crypto.randomUUID() });

describe.each([
  ["primary and two secondaries", { members: 3 }],
  ["primary, secondary and arbiter", { members: 2, arbiter: true }],
])("a replica set of %s:", (_what, members) => {
  let set: ReplicaSet;
  let client: MongoClient;

  beforeAll(async () => {
    set = await startReplicaSet(members);
    client = new MongoClient(set.url, { w: "majority" });
  });
  /** Every member runs, and copies. */
  const heal = async () => {
    await Promise.all(killed.splice(0).map((member) => member.start()));
    for (const member of set.members) if (!member.isArbiter) await member.setReplicating(true);
    await set.ready();
    const probe = () => client.db().collection("probe").insertOne({});
    await expect.poll(() => probe().catch(() => undefined)).toBeDefined(); // a majority has copied all
  };
  const killed: Member[] = [];
  const kill = async (member: Member) => {
    killed.push(member);
    await member.kill();
  };
  afterEach(heal);
  afterAll(async () => {
    await client?.close();
    await set?.stop();
  });

  const aTenant = (options = "") => aTenantOn(client, set.url + options);
  const create = (world: World, headers = {}): Request => ({
    ...owned(world),
    body: { agentId: world.agentId },
    headers,
  });
  const send = (world: World, chatId: string, content: string, headers = {}): Request => ({
    ...owned(world),
    chatId,
    body: { content },
    headers,
  });
  async function aChat(world: World): Promise<string> {
    const answer = await call("create", create(world));
    expect(verdict(answer)).toEqual([200, undefined]);
    return answer.body.data.chat_id;
  }

  /** The secondaries stay up and copy nothing more. */
  async function hold(): Promise<void> {
    for (const member of await set.secondaries()) await member.setReplicating(false);
    await delay(300); // what is under way has arrived
  }
  /** Kills the primary, lets the others go on without what they had not copied, and waits until one takes its place. */
  async function failOver(): Promise<void> {
    const secondaries = await set.secondaries();
    const primary = await set.primary();
    await kill(primary);
    for (const member of secondaries) await member.setReplicating(true);
    await set.primary(primary);
    if (secondaries.length > 1) return;
    // Two voters are left of three, and one has the data: a majority needs the member that was killed.
    await killed.pop()?.start();
  }
  /** The answer, once the set has a majority again. */
  async function once(name: Name, request: Request) {
    const until = Date.now() + 20_000;
    for (;;) {
      const answer = await call(name, request);
      if (answer.body.code !== "CONNECTION_FAILED" || Date.now() > until) return answer;
      await delay(200);
    }
  }

  it("what was acknowledged is there after a failover, and is replayed, never doubled", async () => {
    const world = await aTenant();
    const [createKey, sendKey] = [aKey(), aKey()];
    const created = await call("create", create(world, createKey));
    const chatId = created.body.data.chat_id;
    const sent = await call("message", send(world, chatId, "ping", sendKey));
    expect([verdict(created), verdict(sent)]).toEqual([
      [200, undefined],
      [200, undefined],
    ]);

    await failOver();
    const replayed = await once("message", send(world, chatId, "ping", sendKey));
    expect([verdict(replayed), replayed.headers["idempotent-replayed"]]).toEqual([[200, undefined], "true"]);
    expect(replayed.body.data).toEqual(sent.body.data);
    const again = await once("create", create(world, createKey));
    expect([again.body.data?.chat_id, again.headers["idempotent-replayed"]]).toEqual([chatId, "true"]);
    expect(await heard(chatId)).toEqual(["ping"]);
    expect(await atRetell(world)).toHaveLength(1);
  });

  it("what only the primary has is not acknowledged: nothing is sent, nothing is lost", async () => {
    const world = await aTenant();
    const others = await Promise.all(against.map(aTenant));
    const chatId = await aChat(world);
    const key = aKey();
    await hold();
    const asked = [
      ["create", create(world)],
      ["create", create(world, aKey())],
      ["message", send(world, chatId, "ping", key)],
      ["message", send(world, chatId, "pong")],
      ...others.map((other) => ["create", create(other)] as const),
    ] as const;
    const before = Date.now();
    const answers = await Promise.all(asked.map(([name, request]) => call(name, request)));
    expect(answers.map(verdict)).toEqual(asked.map(() => [503, "CONNECTION_FAILED"]));
    expect(Date.now() - before).toBeLessThan(6_000); // reads, then one write that waits for its majority
    expect(await heard(chatId)).toEqual([]);
    // What has no answer is no replay either, nor is it absent.
    expect(verdict(await call("message", send(world, chatId, "ping", key)))).toEqual([503, "CONNECTION_FAILED"]);
    expect(await heard(chatId)).toEqual([]);
    // Reads go on.
    for (const name of ["list", "transcript"] as const) {
      expect([name, ...verdict(await call(name, { ...owned(world), chatId }))]).toEqual([name, 200, undefined]);
    }

    await failOver();
    const answer = await once("message", send(world, chatId, "ping", key));
    expect(verdict(answer)).toEqual([200, undefined]);
    expect(await heard(chatId)).toEqual(["ping"]);
    const ongoing = (await atRetell(world)).filter(({ status }) => status === "ongoing");
    expect(ongoing.map(({ chat_id }) => chat_id)).toEqual([chatId]);
  });

  it("a reply that only the primary has is unknown, is not replayed, and is found again after a failover", async () => {
    const world = await aTenant();
    const chatId = await aChat(world);
    const request = { ...send(world, chatId, "ping", aKey()), remainingMs: 9_000 };
    await fault(world, "completion", { kind: "latency", ms: 1_500, chat_id: chatId });
    const sending = call("message", request);
    await expect
      .poll(async () => (await world.db.collection("chats").findOne({ chat_id: chatId }))?.internal.turn)
      .toBeDefined();
    await hold();
    const sent = await sending;
    expect([...verdict(sent), sent.body.details?.outcome]).toEqual([504, "MESSAGE_SEND_FAILED", "unknown"]);
    expect((await call("message", request)).status).toBeGreaterThanOrEqual(409);
    const shown = await call("transcript", request);
    expect(shown.body.data.messages.map(({ role }: { role: string }) => role)).toEqual(["agent", "user"]);

    await failOver();
    const chats = world.db.collection("chats");
    const lease = { $set: { "internal.turn.at": new Date(Date.now() - 60_000) } };
    await expect
      .poll(() => chats.updateOne({ chat_id: chatId, "internal.turn.state": "sending" }, lease).catch(() => undefined))
      .toMatchObject({ modifiedCount: 1 });
    const answer = await once("message", request);
    expect([...verdict(answer), answer.headers["idempotent-replayed"]]).toEqual([200, undefined, "true"]);
    expect(await heard(chatId)).toEqual(["ping"]);
  });
});
