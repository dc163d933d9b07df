import { ObjectId } from "mongodb";
import { afterEach, describe, expect, it } from "vitest";
import { aChatBy, anInstance, aWire, owned, verdict } from "./support/wire.ts";
import { aWorld, central, fault, type Name } from "./support/world.ts";

const wire = await aWire();
afterEach(() => wire.heal());

describe("when an error answer leaves, nothing is left to do in Redis:", () => {
  it.each<[Name, string]>([
    ["end", "end"],
    ["transcript", "retrieve"],
  ])("the account whose key Retell refused is forgotten by then (%s)", async (name, step) => {
    const world = await aWorld();
    const instance = await anInstance();
    const request = { ...owned(world), chatId: await aChatBy(instance, world) };
    await central
      .collection("retellaccounts")
      .updateOne({ subaccountId: new ObjectId(world.subaccountId) }, { $set: { isActive: false } });
    await fault(world, step, { kind: "status", status: 401 });
    await wire.redisFault("slow", 150); // longer than the look into Mongo beside it
    const steps = await wire.steps(async () => {
      const query = { consistency: "strong" };
      const answer = await instance.call(name, name === "transcript" ? { ...request, query } : request);
      expect(verdict(answer)).toEqual([400, "RETELL_ACCOUNT_INACTIVE"]);
    });
    expect(steps).toBe("U → M → R → M∥U");
  });
});
