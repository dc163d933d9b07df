import { MongoClient } from "mongodb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ensureIndexes } from "../../lib/platform/indexes.ts";
import { type ReplicaSet, startReplicaSet } from "../support/replica-set.ts";
import { aTenantOn } from "../support/tenant-on.ts";
import { tool } from "../support/tool.ts";
import { owned, verdict } from "../support/wire.ts";
import { call, central, control, type World } from "../support/world.ts";

/** What a connection string may say against what the API promises. */
const against = [
  "",
  "&w=1&wtimeoutMS=60000&journal=false&readConcernLevel=local&readPreference=secondary&maxStalenessSeconds=120",
  "&w=0&readConcernLevel=available&readPreference=nearest&readPreferenceTags=dc:ny",
];

/** All else of a failover takes a minute, and is in test/failover. */
describe("a primary, a secondary and an arbiter, and no write concern in the connection string:", () => {
  let set: ReplicaSet;
  let client: MongoClient;
  let worlds: World[];
  const chatIds: string[] = [];
  const asked: string[] = [];
  beforeAll(async () => {
    set = await startReplicaSet({ members: 2, arbiter: true });
    client = new MongoClient(set.url, { w: "majority" });
    worlds = await Promise.all(against.map((options) => aTenantOn(client, set.url + options)));
    await ensureIndexes(central, "central");
    for (const world of worlds) {
      await ensureIndexes(world.db, "tenant");
      const { status, body } = await call("create", { ...owned(world), body: { agentId: world.agentId } });
      expect([status, body.code]).toEqual([200, undefined]);
      chatIds.push(body.data.chat_id);
    }
  });
  afterAll(async () => {
    await client?.close();
    await set?.stop();
  });

  const heard = async (chatId: string) =>
    (await control("retell", "GET", `/chats/${chatId}`)).entries.filter(
      ({ role }: { role: string }) => role === "user",
    );
  const doctor = async (world: World) => (await tool("doctor", ["--subaccount", world.subaccountId])).stdout;

  it("the doctor says what an arbiter means, and which settings are not used", async () => {
    const [plain, contrary] = worlds;
    if (!plain || !contrary) throw new Error("no worlds");
    const first = await doctor(plain);
    expect(first).toMatch(/^ok +replica set of \w+ +rs, 2 with data, 1 arbiter: .*sends stop/m);
    expect(first).toMatch(/^ok +writes of \w+ +by a majority$/m);
    expect(await doctor(contrary)).toMatch(
      /by a majority; w, wtimeoutMS, journal, readConcernLevel, readPreference, maxStalenessSeconds of its mongodbUrl not used/,
    );
  });

  it("while the secondary is away nothing is acknowledged, nothing is sent, and reads go on", async () => {
    for (const member of await set.secondaries()) await member.kill();
    const answers = await Promise.all(
      worlds.flatMap((world, i) => {
        const chatId = chatIds[i] ?? "";
        const headers = { "idempotency-key": crypto.randomUUID() };
        return [
          call("message", { ...owned(world), chatId, body: { content: "ping" } }),
          call("message", { ...owned(world), chatId, body: { content: "ping" }, headers }),
          call("create", { ...owned(world), body: { agentId: world.agentId } }),
          call("create", { ...owned(world), body: { agentId: world.agentId }, headers }),
        ];
      }),
    );
    expect(answers.map(verdict)).toEqual(answers.map(() => [503, "CONNECTION_FAILED"]));
    for (const chatId of chatIds) asked.push(...(await heard(chatId)));
    expect(asked).toEqual([]);

    for (const [i, world] of worlds.entries()) {
      for (const name of ["list", "transcript"] as const) {
        const answer = await call(name, { ...owned(world), chatId: chatIds[i] ?? "" });
        expect([name, ...verdict(answer)]).toEqual([name, 200, undefined]);
      }
    }
  });

  it("the doctor says why, too", async () => {
    const [world] = worlds;
    if (!world) throw new Error("no world");
    const told = await doctor(world);
    expect(told).toMatch(/^WRONG +writes of \w+ +MongoWriteConcernError 64 WriteConcernFailed/m);
    expect(told).toContain("until a majority has copied a write, every send is refused");
  });
});
