import type { RequestLog } from "../../platform/logger.ts";
import { bounded, central } from "../../platform/mongo.ts";
import { key, RedisUnavailable, redis } from "../../platform/redis.ts";

/** What the last run left in the central database. Redis has the same time, and is not restored together with it. */
interface StageMark {
  _id: "mark";
  /** Of this central database: a stage may get another one. */
  id: string;
  markedAt?: Date;
  /** The central database was restored then: chats that began before may have been stored in what is gone. */
  judgesFrom?: Date;
}

const markSeconds = 30 * 86_400;

/**
 * From when on (epoch ms) chats at Retell can be judged at all: a restore of the whole cluster takes the marks of the
 * subaccounts' databases back together with the notes of them (orphans.ts). Undefined when Redis does not answer: then
 * nobody knows. An emptied Redis counts as a restore, so that nothing is ended that should not be.
 */
export async function stageJudgedFrom(log: RequestLog): Promise<number | undefined> {
  const marks = (await central()).collection<StageMark>("chatsweeps");
  const _id = "mark" as const;
  const $setOnInsert = { id: crypto.randomUUID() };
  const stage = await bounded(
    marks.findOneAndUpdate({ _id }, { $setOnInsert }, { upsert: true, returnDocument: "after" }),
  );
  const name = key("sweep", "mark", String(stage?.id));
  try {
    // MongoDB is written first and read last: its time is older than that of Redis only after a restore.
    const inRedis = await redis.get(name);
    const last = await bounded(marks.findOne({ _id }));
    const now = new Date();
    const isRestored = last?.markedAt !== undefined && !(inRedis && Number(inRedis) <= last.markedAt.getTime());
    if (isRestored) {
      log.error("The central database was restored, or Redis was emptied: no older chat at Retell is ended", undefined);
      log.metrics.add("ChangedDatabases");
    }
    const update = { $max: { markedAt: now }, ...(isRestored ? { $set: { judgesFrom: now } } : {}) };
    const marked = await bounded(marks.findOneAndUpdate({ _id }, update, { returnDocument: "after" }));
    await redis.set(name, String(marked?.markedAt?.getTime()), markSeconds);
    return marked?.judgesFrom?.getTime() ?? 0;
  } catch (error) {
    if (!(error instanceof RedisUnavailable)) throw error;
    log.warn("Redis does not answer: no orphan is searched", error);
    return undefined;
  }
}
