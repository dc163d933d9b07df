import { afterAll, expect, it } from "vitest";
import { mongoProxy, Recorder, type Trip } from "./support/proxy.ts";
import { aChatBy, anInstance, owned } from "./support/wire.ts";
import { aWorld, type World } from "./support/world.ts";

/** A proxy in front of MongoDB that can hold back the answers about chats. */
class Held extends Recorder {
  #gate: PromiseWithResolvers<void> | undefined;
  #arrived = Promise.withResolvers<void>();

  hold(): void {
    this.#gate = Promise.withResolvers();
    this.#arrived = Promise.withResolvers();
  }

  /** Resolves when an answer is being held. */
  get arrived(): Promise<void> {
    return this.#arrived.promise;
  }

  release(): void {
    this.#gate?.resolve();
    this.#gate = undefined;
  }

  override async end(trip: Trip): Promise<void> {
    if (this.#gate && trip.what.endsWith(" chats")) {
      this.#arrived.resolve();
      await this.#gate.promise;
    }
    await super.end(trip);
  }
}

const held = new Held();
const mongod = new URL(process.env.MONGODB_URL ?? "");
const proxy = await mongoProxy(mongod, held);
const slow = await anInstance({
  MONGODB_URL: `mongodb://127.0.0.1:${proxy.port}${mongod.pathname}?directConnection=true`,
});
const quick = await anInstance();
afterAll(async () => {
  await Promise.all([slow.close(), quick.close()]);
  await proxy.stop();
});

const listed = async (world: World, by = quick) => {
  const { body } = await by.call("list", owned(world));
  return { cached: body.meta.cached, ids: body.data.map((chat: { chat_id: string }) => chat.chat_id) };
};

it("a list that was read before a chat was created, and answered after it, is not what others get", async () => {
  const world = await aWorld();
  held.hold();
  const reading = listed(world, slow);
  await held.arrived;
  const chatId = await aChatBy(quick, world);
  held.release();
  expect((await reading).ids).toEqual([]); // it asked before there was one

  expect(await listed(world)).toEqual({ cached: false, ids: [chatId] });
  expect(await listed(world)).toEqual({ cached: true, ids: [chatId] });
});

it("a list that was read before a chat was ended is not what others get", async () => {
  const world = await aWorld();
  const chatId = await aChatBy(quick, world);
  held.hold();
  const reading = listed(world, slow);
  await held.arrived;
  await quick.call("end", { ...owned(world), chatId });
  held.release();
  await reading;

  const { body } = await quick.call("list", owned(world));
  expect(body.data.map((chat: { chat_status: string }) => chat.chat_status)).toEqual(["ended"]);
});
