import { MongoClient } from "mongodb";
import { afterEach, vi } from "vitest";
import { type MongodOptions, type RunningMongod, startMongod } from "../../dev/mongod.ts";

const running = new Set<RunningMongod>();
afterEach(async () => {
  vi.unstubAllEnvs();
  await Promise.all([...running].map((mongod) => mongod.stop()));
  running.clear();
});

/** Starts a mongod that is stopped after the test. */
export async function start(options: MongodOptions = {}): Promise<RunningMongod> {
  const mongod = await startMongod(options);
  running.add(mongod);
  return mongod;
}

async function withNotes<T>(url: string, use: (notes: ReturnType<typeof notesOf>) => Promise<T>): Promise<T> {
  const client = new MongoClient(url);
  try {
    return await use(notesOf(client));
  } finally {
    await client.close();
  }
}

const notesOf = (client: MongoClient) => client.db().collection<{ _id: string }>("notes");
/** Stores a document. */
export const note = (url: string, _id: string) => withNotes(url, (notes) => notes.insertOne({ _id }));
/** The ids of all documents that `note` stored. */
export const notes = (url: string) => withNotes(url, async (all) => (await all.find().toArray()).map(({ _id }) => _id));
