import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { MongoClient, ObjectId } from "mongodb";
import { afterAll, afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { encrypt } from "../lib/platform/crypto.ts";
import { acquireDatabase, central, closeAll } from "../lib/platform/mongo.ts";
import { anInstance, owned } from "./support/wire.ts";
import { aWorld, central as world } from "./support/world.ts";

const target = new URL(process.env.MONGODB_URL ?? "");
const minuteMs = 60_000;

/** A cluster of its own, as far as a client can tell: another address of the same mongod. */
interface Cluster {
  url: string;
  port: number;
  /** The number of open connections to it. */
  sockets: Set<Socket>;
  /** Takes a database there and uses it, until it is given back. */
  use(): Promise<() => void>;
}

const stops: (() => void)[] = [];
afterAll(() => {
  for (const stop of stops) stop();
});
beforeEach(closeAll);
afterEach(() => vi.useRealTimers());

async function aCluster(): Promise<Cluster> {
  const sockets = new Set<Socket>();
  const server = createServer((client) => {
    const mongod = connect(Number(target.port), target.hostname);
    sockets.add(client);
    client.pipe(mongod).pipe(client);
    mongod.on("error", () => client.destroy());
    client.on("error", () => mongod.destroy());
    client.on("close", () => {
      sockets.delete(client);
      mongod.destroy();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  stops.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  const url = `mongodb://127.0.0.1:${port}${target.pathname}?directConnection=true`;

  const use = async () => {
    const { db, release } = acquireDatabase(url, undefined);
    await (await db()).command({ ping: 1 });
    return release;
  };
  return { url, port, sockets, use };
}

const clusters = (count: number) => Promise.all([...Array(count)].map(aCluster));
const isOpen = ({ sockets }: Cluster) => sockets.size > 0;
const closed = (cluster: Cluster | undefined) => expect.poll(() => cluster?.sockets.size).toBe(0);
/** Uses databases one after the other. */
async function visit(places: Cluster[]): Promise<void> {
  for (const place of places) (await place.use())();
}

describe("clients of Mongo", () => {
  it("are one for each connection string, however many first requests come to a cold instance at once", async () => {
    const [main, own] = [await aCluster(), await aCluster()];
    const tenants = [await aWorld(), await aWorld()];
    for (const { subaccountId } of tenants) {
      const mongodbUrl = await encrypt(own.url, subaccountId);
      await world.collection("subaccounts").updateOne({ _id: new ObjectId(subaccountId) }, { $set: { mongodbUrl } });
    }
    const { call, close } = await anInstance({ MONGODB_URL: main.url });
    const connect = vi.spyOn(MongoClient.prototype, "connect");
    const requests = tenants.flatMap((tenant) => [...Array(10)].map(() => call("list", owned(tenant))));
    expect((await Promise.all(requests)).map(({ status }) => status)).toEqual(Array(20).fill(200));
    const clients = [...new Set(connect.mock.contexts as MongoClient[])];
    expect(clients.map(({ options }) => options.hosts[0]?.port)).toEqual([main, own].map(({ port }) => port));
    // Ten for operations, and two for monitoring.
    for (const { sockets } of [main, own]) expect(sockets.size).toBeLessThanOrEqual(12);
    connect.mockRestore();
    await close();
  });

  it("are ten at most: the one that was used longest ago is closed first", async () => {
    const all = await clusters(11);
    await visit(all.slice(0, 10));
    await visit(all.slice(0, 1));
    expect(all.filter(isOpen)).toHaveLength(10);
    await visit(all.slice(10));
    await closed(all[1]);
    expect(all.map(isOpen)).toEqual(all.map((_, i) => i !== 1));
  });

  it("are never closed while in use, be they more than ten", async () => {
    const all = await clusters(12);
    const releases = await Promise.all(all.map(({ use }) => use()));
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60 * minuteMs });
    await visit(all.slice(11));
    expect(all.every(isOpen)).toBe(true);
    for (const release of releases) release();
    await visit(all.slice(11));
    await closed(all[0]);
  });

  it("are closed when nobody has used them for five minutes, at the next use of any other", async () => {
    const [first, second, other] = [await aCluster(), await aCluster(), await aCluster()];
    const release = await second.use();
    await visit([first]);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 5 * minuteMs - 1_000 });
    release(); // `usedAt` is set to now
    await visit([other]);
    expect([first, second].map(isOpen)).toEqual([true, true]);

    vi.setSystemTime(Date.now() + 1_000);
    await visit([other]);
    await closed(first);
    expect(isOpen(second)).toBe(true);
    await visit([first]);
    expect(isOpen(first)).toBe(true);
  });

  it("of the central database are never closed", async () => {
    const other = await aCluster();
    const before = (await central()).client;
    await (await central()).command({ ping: 1 });
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60 * minuteMs });
    await other.use();
    expect((await central()).client).toBe(before);
    await (await central()).command({ ping: 1 });
  });

  it("stay open for who still uses them when somebody else has let go twice", async () => {
    const [one, other] = [await aCluster(), await aCluster()];
    const [mine, yours] = [await one.use(), await one.use()];
    mine();
    mine();
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 60 * minuteMs });
    await visit([other]);
    expect(isOpen(one)).toBe(true);
    yours();
  });
});
