import { ObjectId } from "mongodb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { sweep } from "../lib/chat/sweep/sweep.ts";
import { ensureIndexes } from "../lib/platform/indexes.ts";
import { sleep } from "../lib/platform/time.ts";
import { aRetellBetween } from "./support/between.ts";
import { linesOf } from "./support/instance.ts";
import { aLog } from "./support/log.ts";
import { anOrphan } from "./support/orphan.ts";
import { aChat, aWorld, central, control, type World } from "./support/world.ts";

const between = await aRetellBetween();

beforeEach(async () => {
  // Those of earlier tests.
  await central.collection("subaccounts").deleteMany({});
});
afterEach(() => {
  vi.useRealTimers();
});

const minuteMs = 60_000;
const run = (until: number, perSubaccount = 100) => sweep({ until, perSubaccount }, aLog("sweep"));
const asked = async (world: World): Promise<unknown[]> =>
  (await control("retell", "GET", `/requests?step=retrieve&key=${world.apiKey}`)).requests;

const counts = async (worlds: World[]) => (await Promise.all(worlds.map(asked))).map(({ length }) => length);

/** A tenant with this many chats that are due, in a database of its own or in the given one. */
async function busy(count: number, databaseName?: string): Promise<World> {
  const world = await aWorld(databaseName ? { subaccount: { databaseName } } : {});
  const { agentId, subaccountId } = world;
  if (databaseName) {
    world.db = central.client.db(databaseName);
    await world.db.collection("chatagents").insertOne({ agentId, subaccountId });
  }
  for (let i = 0; i < count; i++) await aChat(world);
  await isDue(world);
  return world;
}

const isDue = ({ db, subaccountId }: World) =>
  db
    .collection("chats")
    .updateMany({ subaccountId }, { $set: { "internal.nextSweepAt": new Date(Date.now() - 1_000) } });

/** A run whose time ends with the nth read at Retell. */
async function runUntilRead(nth: number) {
  vi.useFakeTimers({ toFake: ["Date"] });
  const until = Date.now() + minuteMs;
  let reads = 0;
  between.before = (path) => {
    if (path.startsWith("/get-chat/") && ++reads === nth) vi.setSystemTime(until + 1);
  };
  try {
    return await run(until);
  } finally {
    between.heal();
    vi.useRealTimers();
  }
}

describe("a run of the sweep", () => {
  it("begins nothing when its time is over", async () => {
    const world = await busy(2);
    expect(await run(Date.now() - 1)).toMatchObject({ subaccounts: 0, settled: 0 });
    expect(await asked(world)).toEqual([]);
  });

  it("begins nothing more once its time is over, and the next run goes on where it stopped", async () => {
    const worlds = [await busy(3), await busy(3)];
    // The first chat takes all the time.
    expect(await runUntilRead(1)).toMatchObject({ subaccounts: 1, settled: 1, failed: 0 });
    expect((await counts(worlds)).sort()).toEqual([0, 1]);

    // The subaccount that had its turn comes last, and what it had done is not due again.
    expect(await run(Date.now() + minuteMs, 2)).toMatchObject({ subaccounts: 2, settled: 4 });
    expect((await counts(worlds)).sort()).toEqual([2, 3]);
  });

  it("gives every subaccount its turn, however much is due in one of them", async () => {
    const worlds = [await busy(5), await busy(1), await busy(5)];
    expect(await run(Date.now() + minuteMs, 2)).toMatchObject({ subaccounts: 3, settled: 5 });
    expect(await counts(worlds)).toEqual([2, 1, 2]);
  });

  it("gives each of a database its turn, from run to run, however much is due in the one before", async () => {
    const shared = `t_shared_${crypto.randomUUID().slice(0, 8)}`;
    const worlds = [await busy(3, shared), await busy(3, shared), await busy(3, shared)];
    const [first] = worlds as [World, World, World];
    for (const _ of worlds) {
      await isDue(first); // it always has work
      expect(await runUntilRead(3)).toMatchObject({ subaccounts: 1, settled: 3 });
    }
    expect(await counts(worlds)).toEqual([3, 3, 3]);
  });

  it("does not begin with the subaccount of which the run before it has died", async () => {
    const worlds = [await busy(1), await busy(1), await busy(1)];
    const asked: string[] = [];
    const moments = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const [began, goOn] = moments as [(typeof moments)[0], (typeof moments)[0]];
    between.before = (path) => {
      if (!path.startsWith("/get-chat/")) return undefined;
      asked.push(path.slice("/get-chat/".length));
      if (asked.length > 1) return undefined;
      began.resolve();
      return goOn.promise; // it goes on when the test is over
    };
    const dead = run(Date.now() + minuteMs);
    await began.promise;
    await isDue(worlds[0] as World); // as after its claim
    expect(await run(Date.now() + minuteMs)).toMatchObject({ settled: 3 });
    const chats = await Promise.all(worlds.map(({ db }) => db.collection("chats").findOne()));
    const [one, two, three] = chats.map((chat) => chat?.chat_id);
    expect(asked).toEqual([one, two, three, one]);
    goOn.resolve();
    await dead;
  });

  it("goes over all subaccounts once, however many there are and wherever it begins", async () => {
    const databaseName = `t_many_${crypto.randomUUID().slice(0, 8)}`;
    const many = Array.from({ length: 110 }, () => ({ isActive: true, databaseName }));
    await central.collection("subaccounts").insertMany(many);
    for (const _ of [1, 2]) {
      expect(await run(Date.now() + minuteMs)).toMatchObject({ subaccounts: 110 });
    }
  });

  it("keeps no note for ever", async () => {
    await ensureIndexes(central, "central");
    const indexes = await central.collection("chatsweeps").indexes();
    expect(indexes).toContainEqual(expect.objectContaining({ key: { at: 1 }, expireAfterSeconds: 345_600 }));
    await busy(1);
    await run(Date.now() + minuteMs);
    // Except the stage's mark, and one note per subaccount: the one that names its database.
    const kept = await central
      .collection("chatsweeps")
      .find({ at: { $not: { $type: "date" } } })
      .toArray();
    const kinds = kept.map(({ _id }) => String(_id).split(" ")[0]).filter((kind) => kind !== "mark");
    expect(kinds).toEqual(kinds.map(() => "database"));
  });

  it("leaves a tenant whose cluster cannot be reached, and sweeps the others", async () => {
    const broken = await aWorld({ subaccount: { mongodbUrl: "v2.a.b.c.d" } });
    const whole = await busy(2);
    expect(await run(Date.now() + minuteMs)).toMatchObject({ subaccounts: 2, settled: 2, failed: 1 });
    expect([(await asked(broken)).length, (await asked(whole)).length]).toEqual([0, 2]);
  });

  it("has nothing to do for a tenant without an active Retell account", async () => {
    await aWorld({ account: null });
    await aWorld({ account: { isActive: false } });
    const log = aLog("sweep");
    expect(await sweep({ until: Date.now() + minuteMs, perSubaccount: 100 }, log)).toMatchObject({
      subaccounts: 2,
      failed: 0,
    });
    expect(linesOf(log.fields.operationId)).toEqual([]);
  });

  it("warns of chats that are due and cannot be settled for want of an account, and puts them off", async () => {
    const world = await busy(2);
    const own = { subaccountId: new ObjectId(world.subaccountId) };
    await central.collection("retellaccounts").updateOne(own, { $set: { isActive: false } });
    const chats = world.db.collection("chats");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 6 * minuteMs }); // cached values have expired
    const turn = {
      id: crypto.randomUUID(),
      operationId: crypto.randomUUID(),
      state: "unknown",
      at: new Date(Date.now() - 600_000),
    };
    await chats.updateOne({}, { $set: { "internal.turn": turn } });
    const log = aLog("sweep");
    expect(await sweep({ until: Date.now() + minuteMs, perSubaccount: 100 }, log)).toMatchObject({
      settled: 0,
      failed: 0,
      failing: 1,
      oldestOpenSeconds: 0, // it waits for the account
    });
    expect(linesOf(log.fields.operationId)).toMatchObject([
      {
        level: "WARN",
        message: "Chats are due, but there is no active Retell account",
        subaccountId: world.subaccountId,
      },
    ]);
    expect(linesOf(turn.operationId)).toMatchObject([
      {
        level: "WARN",
        message: "A turn is still open",
        reason: { code: "RETELL_ACCOUNT_INACTIVE" },
        settledBy: log.fields.operationId,
      },
    ]);
    const inMinutes = (await chats.find().toArray()).map(
      ({ internal }) => (internal.nextSweepAt - Date.now()) / minuteMs,
    );
    expect(inMinutes).toEqual([expect.closeTo(2, 0), expect.closeTo(60, 0)]);
  });

  it("goes on to the next after a chat that was deleted under its hands", async () => {
    const world = await busy(2);
    const chats = world.db.collection("chats");
    const [gone, other] = await chats.find().sort({ _id: 1 }).toArray();
    await chats.updateOne({ _id: gone?._id }, { $set: { "internal.nextSweepAt": new Date(Date.now() - 2_000) } });
    await control("retell", "PATCH", `/chats/${gone?.chat_id}`, { status: "ended" });
    between.before = (path) => path === `/get-chat/${gone?.chat_id}` && chats.deleteOne({ _id: gone?._id });
    expect(await run(Date.now() + minuteMs)).toMatchObject({ settled: 1, failed: 1 });
    expect((await chats.findOne({ _id: other?._id }))?.internal.nextSweepAt.getTime()).toBeGreaterThan(Date.now());
  });

  it("gives what it begins at the last moment the time that it needs", async () => {
    const world = await busy(1);
    const orphan = await anOrphan(world);
    vi.useFakeTimers({ toFake: ["Date"] }); // the time stands still
    between.before = () => sleep(50);
    expect(await run(Date.now() + 1)).toMatchObject({ settled: 1, orphansEnded: 1, failed: 0 });
    const [chat] = await world.db.collection("chats").find().toArray();
    expect(chat?.internal.nextSweepAt.getTime()).toBeGreaterThan(Date.now() + 60 * minuteMs); // it was read
    expect((await control("retell", "GET", `/chats/${orphan}`)).status).toBe("ended");
  });
});
