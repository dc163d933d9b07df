import "./support/apart.ts";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { sweep } from "../lib/chat/sweep.ts";
import { aRetellBetween } from "./support/between.ts";
import { aLog } from "./support/log.ts";
import { aChat, aWorld, central, control, type World } from "./support/world.ts";

const between = await aRetellBetween();

beforeEach(async () => {
  // Of the tests before.
  await central.collection("subaccounts").deleteMany({});
});
afterEach(() => {
  between.heal();
  vi.useRealTimers();
});

const minuteMs = 60_000;
const run = (until: number, perSubaccount = 100) => sweep({ until, perSubaccount }, aLog("sweep"));
const asked = async (world: World): Promise<unknown[]> =>
  (await control("retell", "GET", `/requests?step=retrieve&key=${world.apiKey}`)).requests;

/** A tenant with so many chats whose time has come. */
async function busy(count: number): Promise<World> {
  const world = await aWorld();
  for (let i = 0; i < count; i++) await aChat(world);
  await world.db.collection("chats").updateMany({}, { $set: { "internal.due": new Date(Date.now() - 1_000) } });
  return world;
}

describe("a run of the sweep", () => {
  it("begins nothing when its time is over", async () => {
    const world = await busy(2);
    expect(await run(Date.now() - 1)).toMatchObject({ databases: 0, settled: 0 });
    expect(await asked(world)).toEqual([]);
  });

  it("begins nothing more once its time is over, and the next run goes on where it stopped", async () => {
    const worlds = [await busy(3), await busy(3)];
    vi.useFakeTimers({ toFake: ["Date"] });
    const until = Date.now() + minuteMs;
    between.before = (path) => {
      if (path.startsWith("/get-chat/")) vi.setSystemTime(until + 1); // the first chat takes all the time
    };
    expect(await run(until)).toMatchObject({ databases: 1, settled: 1, failed: 0 });
    const counts = async () => (await Promise.all(worlds.map(asked))).map(({ length }) => length).sort();
    expect(await counts()).toEqual([0, 1]);

    between.heal();
    vi.useRealTimers();
    // The database that had its turn comes last, and what it had done is not due again.
    expect(await run(Date.now() + minuteMs, 2)).toMatchObject({ databases: 2, settled: 4 });
    expect(await counts()).toEqual([2, 3]);
  });

  it("gives every subaccount its turn, however much is due in one of them", async () => {
    const worlds = [await busy(5), await busy(1), await busy(5)];
    expect(await run(Date.now() + minuteMs, 2)).toMatchObject({ databases: 3, settled: 5 });
    expect((await Promise.all(worlds.map(asked))).map(({ length }) => length)).toEqual([2, 1, 2]);
  });

  it("leaves a tenant whose cluster cannot be reached, and sweeps the others", async () => {
    const broken = await aWorld({ subaccount: { mongodbUrl: "v2.a.b.c.d" } });
    const whole = await busy(2);
    expect(await run(Date.now() + minuteMs)).toMatchObject({ databases: 2, settled: 2, failed: 1 });
    expect([(await asked(broken)).length, (await asked(whole)).length]).toEqual([0, 2]);
  });
});
