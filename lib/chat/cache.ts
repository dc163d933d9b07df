import { crc32 } from "node:zlib";
import { type AnswerHead, digestBytes, fromCache } from "../platform/compress.ts";
import type { RequestLog } from "../platform/logger.ts";
import { key, redis } from "../platform/redis.ts";

/** What the cache has under one key, and how to fill it. */
export interface Cached {
  /**
   * An answer without the part that belongs to one request. It is sent as it is stored, without inflating or parsing.
   */
  hit: AnswerHead | undefined;
  /** Stores an answer, unless a write came in between. Logs a warning if that fails. */
  fill(answer: AnswerHead): Promise<void>;
}

/** A key of the cache, and how long its value is valid. */
export interface CacheKey {
  name: string;
  ttlSeconds: number;
}

/** The default first page of a subaccount's list. */
export const listKey = (subaccountId: string): CacheKey => ({ name: key("chat:list", subaccountId), ttlSeconds: 60 });

/** The transcript of a chat that is over. */
export const chatKey = (subaccountId: string, chatId: string): CacheKey => ({
  name: key("chat", subaccountId, chatId),
  ttlSeconds: 300,
});

/** Larger values are not cached, to save Redis' memory and the transfer. */
const maxBytes = 262_144;

/**
 * How long a generation token lives: longer than any request, so that a reader that began before a write finds it
 * changed.
 */
const generationSeconds = 120;

const fillScript = `
if (redis.call("GET", KEYS[2]) or "") == ARGV[1] then
  return redis.call("SET", KEYS[1], ARGV[2], "EX", ARGV[3])
end`;

/**
 * Reads a key together with its generation token. Never rejects: a failure counts as a miss, and then nothing is
 * filled.
 */
export async function read(cacheKey: CacheKey, log: RequestLog): Promise<Cached> {
  try {
    const [text, generation] = await redis.mget([cacheKey.name, generationOf(cacheKey)]);
    log.debug("Cache read", { key: cacheKey.name, bytes: text?.length ?? 0 });
    return { hit: parse(text), fill: (answer) => fill(cacheKey, generation ?? "", answer, log) };
  } catch (error) {
    log.warn("Cache not read", error);
    return { hit: undefined, fill: async () => {} };
  }
}

/**
 * Deletes keys, before the write that calls this answers. If that fails, a stale value stays until its lifetime ends (a
 * minute for lists, five for transcripts), and a warning is logged.
 */
export async function forget(cacheKeys: CacheKey[], log: RequestLog): Promise<void> {
  try {
    await forgetOrThrow(cacheKeys);
    for (const { name } of cacheKeys) log.debug("Cache forgotten", { key: name });
  } catch (error) {
    // Logged even if the request has logged the same failure: here a stale value stays.
    log.warn("Cache not forgotten: it may be stale for one lifetime", new Error("Not forgotten", { cause: error }));
  }
}

/**
 * Deletes keys, for callers that must know whether it worked.
 *
 * @throws When Redis does not answer.
 */
export async function forgetOrThrow(cacheKeys: CacheKey[]): Promise<void> {
  const token = crypto.randomUUID();
  // The token first: a reader in between either reads the old value, which is deleted next, or finds the token changed.
  await Promise.all(
    cacheKeys.flatMap((cacheKey) => [
      redis.set(generationOf(cacheKey), token, generationSeconds),
      redis.del(cacheKey.name),
    ]),
  );
}

async function fill(cacheKey: CacheKey, generation: string, answer: AnswerHead, log: RequestLog): Promise<void> {
  const text = toText(answer);
  if (text.length > maxBytes) return;
  try {
    await redis.eval(fillScript, [cacheKey.name, generationOf(cacheKey)], [generation, text, cacheKey.ttlSeconds]);
    log.debug("Cache filled", { key: cacheKey.name, bytes: text.length });
  } catch (error) {
    log.warn("Cache not filled", error);
  }
}

/** What follows the deflated bytes: the digest, the checksum and length of the text, and a checksum of all of it. */
const trailerBytes = digestBytes + 12;
/** Changes the last checksum, so that a value of another format is a miss. */
const format = 2;

function toText(answer: AnswerHead): string {
  const { bytes, crc, length } = answer.deflated();
  const all = Buffer.concat([bytes, answer.digest(), Buffer.alloc(12)]);
  all.writeUInt32LE(crc, all.length - 12);
  all.writeUInt32LE(length, all.length - 8);
  all.writeUInt32LE(crc32(all.subarray(0, -4), format), all.length - 4);
  return all.toString("base64");
}

/** A damaged value, or one of another format, is a miss: a hit goes to the client unread. */
function parse(text: string | null | undefined): AnswerHead | undefined {
  const all = Buffer.from(text ?? "", "base64");
  if (all.length < trailerBytes) return undefined;
  if (crc32(all.subarray(0, -4), format) !== all.readUInt32LE(all.length - 4)) return undefined;
  const bytes = all.subarray(0, -trailerBytes);
  const [crc, length] = [all.readUInt32LE(all.length - 12), all.readUInt32LE(all.length - 8)];
  return fromCache({ bytes, crc, length }, all.subarray(-trailerBytes, -12));
}

/** A prefix, not a suffix: a chat's id may hold colons, and so end like a suffix. */
const generationOf = (cacheKey: CacheKey) => key("generation", cacheKey.name);
