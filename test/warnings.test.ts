import { afterEach, describe, expect, it } from "vitest";
import { aChatBy, anInstance, aWire, logOf, owned, verdict } from "./support/wire.ts";
import { aWorld, type Name, type Request } from "./support/world.ts";

const wire = await aWire();
afterEach(() => wire.heal());

describe("while Redis is left alone after three failures,", () => {
  it("a request has one warning of it, in whatever it would have asked", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    const chatId = await aChatBy(instance, world);
    await wire.upstash.refuse();
    for (let i = 0; i < 3; i++) await instance.call("list", owned(world));

    const asked: [Name, Request][] = [
      ["list", owned(world)],
      ["transcript", { ...owned(world), chatId }],
      ["message", { ...owned(world), chatId, body: { content: "ping" } }],
    ];
    const calls = await wire.callsTo("upstash", async () => {
      for (const [name, request] of asked) {
        const answer = await instance.call(name, request);
        expect([name, ...verdict(answer)]).toEqual([name, 200, undefined]);
        const warnings = logOf(answer, "WARN");
        expect([name, warnings.length, warnings[0]?.reason]).toEqual([
          name,
          1,
          expect.objectContaining({ name: "RedisUnavailable" }),
        ]);
      }
    });
    expect(calls).toEqual([]);
  });
});
