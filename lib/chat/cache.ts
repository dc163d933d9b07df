import { crc32 } from "node:zlib";
import { type AnswerHead, type Deflated, fromCache } from "../platform/compress.ts";
import type { RequestLog } from "../platform/logger.ts";
import { key, redis } from "../platform/redis.ts";

/** What the cache knows of one key, and how to fill it. */
export interface Cached {
  /** An answer up to what belongs to its request: neither inflated nor parsed on its way to the next one. */
  hit: AnswerHead | undefined;
  /** Stores an answer, unless a write came in between. A failure is one warning. */
  fill(answer: AnswerHead): Promise<void>;
}

/** A place in the cache and how long what stands there is good for. */
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

/** Of what is stored: it is Redis' memory and the way there that this spares. */
const maxBytes = 262_144;

/** Longer than any request: a reader that began before a write finds the token changed when it wants to fill. */
const generationSeconds = 120;

const fillScript = `
if (redis.call("GET", KEYS[2]) or "") == ARGV[1] then
  return redis.call("SET", KEYS[1], ARGV[2], "EX", ARGV[3])
end`;

/**
 * Reads an entry together with its generation token. Never rejects: a failure is a miss, and then nothing is filled.
 */
export async function read(entry: CacheKey, log: RequestLog): Promise<Cached> {
  try {
    const [text, generation] = await redis.mget([entry.name, generationOf(entry)]);
    log.debug("Cache read", { key: entry.name, bytes: text?.length ?? 0 });
    return { hit: parse(text), fill: (answer) => fill(entry, generation ?? "", answer, log) };
  } catch (error) {
    log.warn("Cache not read", error);
    return { hit: undefined, fill: async () => {} };
  }
}

/**
 * Makes entries be forgotten, before the write that calls this answers. When it fails, what is cached stays until
 * its lifetime ends (a minute for lists, five for transcripts), and the log says so.
 */
export async function forget(entries: CacheKey[], log: RequestLog): Promise<void> {
  try {
    await drop(entries);
    for (const { name } of entries) log.debug("Cache forgotten", { key: name });
  } catch (error) {
    // A line of its own, whatever else of the request met the same failure: here something stale stays.
    log.warn("Cache not forgotten: it may be stale for one lifetime", new Error("Not forgotten", { cause: error }));
  }
}

/**
 * The same, for who wants to know.
 *
 * @throws When Redis does not answer.
 */
export async function drop(entries: CacheKey[]): Promise<void> {
  const token = crypto.randomUUID();
  // The token first: a reader between the two finds either the old value, now deleted, or a token that changed.
  await Promise.all(
    entries.flatMap((entry) => [redis.set(generationOf(entry), token, generationSeconds), redis.del(entry.name)]),
  );
}

async function fill(entry: CacheKey, generation: string, answer: AnswerHead, log: RequestLog): Promise<void> {
  const text = toText(answer.deflated());
  if (text.length > maxBytes) return;
  try {
    await redis.eval(fillScript, [entry.name, generationOf(entry)], [generation, text, entry.ttlSeconds]);
    log.debug("Cache filled", { key: entry.name, bytes: text.length });
  } catch (error) {
    log.warn("Cache not filled", error);
  }
}

/** What is deflated, the checksum and length of its text, and a checksum of all this. */
function toText({ bytes, crc, length }: Deflated): string {
  const all = Buffer.concat([bytes, Buffer.alloc(12)]);
  all.writeUInt32LE(crc, bytes.length);
  all.writeUInt32LE(length, bytes.length + 4);
  all.writeUInt32LE(crc32(all.subarray(0, -4)), bytes.length + 8);
  return all.toString("base64");
}

/** Garbage, half an entry or one of an older form is a miss: a hit goes to the client unread. */
function parse(text: string | null | undefined): AnswerHead | undefined {
  const all = Buffer.from(text ?? "", "base64");
  if (all.length < 12 || crc32(all.subarray(0, -4)) !== all.readUInt32LE(all.length - 4)) return undefined;
  const bytes = all.subarray(0, -12);
  return fromCache({ bytes, crc: all.readUInt32LE(bytes.length), length: all.readUInt32LE(bytes.length + 4) });
}

/** Told apart by its prefix: a chat's id may hold colons, and could spell a suffix. */
const generationOf = (entry: CacheKey) => key("generation", entry.name);
