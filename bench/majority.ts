/**
 * `node bench/majority.ts`: measures the two writes of a send with and without a majority, in replica sets of one and of
 * three members on this machine. Both kinds alternate, so that other load on the machine affects both.
 */
import { MongoClient, type WriteConcernSettings } from "mongodb";
import { defineCommand, type Named } from "../ops/command.ts";
import { runCommand } from "../ops/run-command.ts";
import { startReplicaSet } from "../test/support/replica-set.ts";
import { spread } from "./numbers.ts";

const kinds: Record<string, WriteConcernSettings> = {
  "w: 1": { w: 1, journal: false },
  majority: { w: "majority", journal: true },
};
const text = "x".repeat(300);
const warmUp = 20;
const rounds = 300;

async function measure(): Promise<void> {
  for (const members of [1, 3]) {
    const set = await startReplicaSet({ members, electionMs: 10_000 });
    const client = new MongoClient(set.url, { retryWrites: false });
    const chats = client.db().collection<{ _id: string; messages: object[] }>("chats");
    await chats.insertOne({ _id: "chat", messages: [] }, { writeConcern: { w: "majority" } });

    const times = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, [] as number[]]));
    for (let round = 0; round < warmUp + rounds; round++) {
      for (const [kind, writeConcern] of Object.entries(kinds)) {
        const start = performance.now();
        for (const role of ["user", "agent"]) {
          const push = { $push: { messages: { $each: [{ role, content: text }], $slice: -40 } } };
          await chats.findOneAndUpdate({ _id: "chat" }, push, { writeConcern, projection: { _id: 1 } });
        }
        if (round >= warmUp) times[kind]?.push(performance.now() - start);
      }
    }
    for (const [kind, all] of Object.entries(times)) console.log(`${members} members, ${kind}:`, spread(all));
    await client.close();
    await set.stop();
  }
}

export const named: Named = {
  call: "node bench/majority.ts",
  says: "measures the two writes of a send with and without a majority",
};

export const command = defineCommand({ flags: {}, run: measure });

if (import.meta.main) await runCommand(named, process.argv.slice(2), async () => command);
