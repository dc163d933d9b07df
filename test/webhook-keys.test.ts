import { ObjectId } from "mongodb";
import { sign } from "retell-sdk/lib/webhook_auth";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { encrypt } from "../lib/platform/crypto.ts";
import { metricsOf } from "./support/instance.ts";
import { anInstance, aWire, type Instance, owned, verdict } from "./support/wire.ts";
import { aWorld, central, type World } from "./support/world.ts";

const wire = await aWire();
let instance: Instance;
beforeEach(async () => {
  instance = await anInstance();
});
afterEach(() => vi.useRealTimers());

const body = '{"event":"chat_started","chat":{"chat_id":"chat_1","agent_id":"a","chat_status":"ongoing"}}';
const ask = async (subaccountId: string, key: string) =>
  instance.call("webhook", { subaccountId, body, headers: { "x-retell-signature": await sign(body, key) } });
const deliver = async (subaccountId: string, key: string) => (await ask(subaccountId, key)).status;

async function change({ subaccountId }: World, keys: string[]): Promise<void> {
  const webhookKeys = await Promise.all(keys.map((key) => encrypt(key, subaccountId)));
  await central
    .collection("retellaccounts")
    .updateOne({ subaccountId: new ObjectId(subaccountId) }, { $set: { webhookKeys } });
}

describe("webhook keys", () => {
  it("that are new count at once, and those that are gone no longer, whatever this instance remembers", async () => {
    const world = await aWorld();
    const { subaccountId, apiKey } = world;
    await change(world, ["old"]);
    expect(await deliver(subaccountId, "old")).toBe(200);

    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 10_000 });
    await change(world, ["old", "new"]);
    expect([await deliver(subaccountId, "new"), await deliver(subaccountId, "old")]).toEqual([200, 200]);

    vi.setSystemTime(Date.now() + 10_000);
    await change(world, ["new"]);
    expect(await deliver(subaccountId, apiKey)).toBe(401);
    expect([await deliver(subaccountId, "new"), await deliver(subaccountId, "old")]).toEqual([200, 401]);
  });

  it("that did not decrypt and have been mended count at once", async () => {
    const world = await aWorld({ account: { webhookKeys: ["v2.a.b.c.d"] } });
    expect(await deliver(world.subaccountId, "mended")).toBe(401);
    await instance.call("create", { ...owned(world), body: { agentId: world.agentId } }); // remembers the account

    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 10_000 });
    await change(world, ["mended"]);
    expect(await deliver(world.subaccountId, "mended")).toBe(200);
  });

  it("are read once in ten seconds, however many forged deliveries come, and serve the true ones meanwhile", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const { subaccountId, apiKey } = await aWorld();
    await deliver(subaccountId, apiKey);
    const forge = () =>
      wire.callsTo("mongo", () => Promise.all([...Array(30)].map(() => deliver(subaccountId, "forged"))));
    expect(await forge()).toEqual([]);
    vi.setSystemTime(Date.now() + 10_000);
    expect(await forge()).toEqual(["find retellaccounts"]);
    expect(await deliver(subaccountId, apiKey)).toBe(200);
  });

  it("are read once for deliveries that come to a cold instance at once, and all of them are taken", async () => {
    const { subaccountId, apiKey } = await aWorld();
    let statuses: number[] = [];
    const reads = await wire.callsTo("mongo", async () => {
      statuses = await Promise.all([...Array(10)].map(() => deliver(subaccountId, apiKey)));
    });
    expect(statuses).toEqual(Array(10).fill(200));
    expect(reads.filter((what) => what === "find retellaccounts")).toHaveLength(1);
  });

  it.each([
    ["without an account", () => aWorld({ account: null })],
    ["with an inactive account", () => aWorld({ account: { isActive: false } })],
  ])("of a subaccount %s are looked for as seldom", async (_which, make) => {
    const { subaccountId, apiKey } = await make();
    const calls = () => wire.callsTo("mongo", async () => expect(await deliver(subaccountId, apiKey)).toBe(401));
    expect([await calls(), await calls()]).toEqual([["find retellaccounts"], []]);
  });

  it("of subaccounts that do not exist are looked for 50 times in ten seconds", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const strange = () => Promise.all([...Array(120)].map(() => deliver(new ObjectId().toHexString(), "forged")));
    expect(await wire.callsTo("mongo", strange)).toHaveLength(50);
    expect(await wire.callsTo("mongo", strange)).toHaveLength(0);
    vi.setSystemTime(Date.now() + 10_000);
    expect(await wire.callsTo("mongo", strange)).toHaveLength(50);
  });

  it("of a true delivery that comes among so many: 503 with Retry-After, and then it is taken", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    const [{ subaccountId, apiKey }, known] = [await aWorld(), await aWorld()];
    await deliver(known.subaccountId, known.apiKey);
    await Promise.all([...Array(50)].map(() => deliver(new ObjectId().toHexString(), "forged")));
    vi.setSystemTime(Date.now() + 2_500);
    const told = await ask(subaccountId, apiKey);
    expect([...verdict(told), told.headers["retry-after"]]).toEqual([503, "CONNECTION_FAILED", "8"]);
    expect(metricsOf(told.body.meta.operationId)).toEqual([expect.not.objectContaining({ MongoFailures: 1 })]);
    expect(await deliver(known.subaccountId, known.apiKey)).toBe(200);
    vi.setSystemTime(Date.now() + 8_000);
    expect(await deliver(subaccountId, apiKey)).toBe(200);
  });

  it("are not tried on more than 32 MB of forged deliveries in a minute: 429, for that subaccount alone", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    const [world, other] = [await aWorld(), await aWorld()];
    const { subaccountId, apiKey } = world;
    const large = `{"event":"${"x".repeat(4 * 1024 * 1024)}"}`;
    const forge = async () => {
      const headers = { "x-retell-signature": await sign(large, "forged") };
      return verdict(await instance.call("webhook", { subaccountId, body: large, headers }));
    };
    for (let i = 0; i < 8; i++) expect(await forge()).toEqual([401, "INVALID_SIGNATURE"]);
    expect(await forge()).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
    const told = await ask(subaccountId, apiKey);
    expect([...verdict(told), told.headers["retry-after"]]).toEqual([429, "RATE_LIMIT_EXCEEDED", "60"]);
    expect((await instance.call("webhook", { subaccountId, body: large })).status).toBe(401); // without a signature
    expect(await deliver(other.subaccountId, other.apiKey)).toBe(200);
    vi.setSystemTime(Date.now() + 60_000);
    expect(await deliver(subaccountId, apiKey)).toBe(200);
  });

  it("cannot be had while Mongo is away: 503, and at once again when it is back", async () => {
    const { subaccountId, apiKey } = await aWorld();
    wire.treat("mongo", "cut");
    expect(await deliver(subaccountId, apiKey)).toBe(503);
    await wire.heal();
    expect(await deliver(subaccountId, apiKey)).toBe(200);
  });
});
