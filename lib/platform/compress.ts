import { createHash } from "node:crypto";
import { constants, crc32, deflateRawSync, inflateRawSync } from "node:zlib";

/**
 * The beginning of an answer's text, up to the fields that only its request has. It is cached, and sent as it was stored.
 * Its deflated form has no final block and ends at a byte boundary, so that any tail can follow. A cache hit of 100 chats
 * then costs 10 µs, where inflating and deflating again would cost several hundred. Two gzip members in a row would be
 * simpler, but browsers read only the first.
 *
 * BREACH does not apply: no answer contains a token or a key, and browsers do not send bearer tokens by themselves.
 *
 * @see RFC 1951, 3.2.3 and RFC 1952, 2.3
 */
export interface AnswerHead {
  text(): string;
  deflated(): Deflated;
  /** `digestBytes` bytes that differ where the text differs. */
  digest(): Buffer;
  /** The text's length, approximately. */
  length: number;
}

export const digestBytes = 16;

export interface Deflated {
  bytes: Buffer;
  /** CRC-32 of the text. */
  crc: number;
  /** Bytes of the text. */
  length: number;
}

/** A new head. It is deflated, and digested, on first use. */
export function fromText(text: string): AnswerHead {
  let deflated: Deflated | undefined;
  let digest: Buffer | undefined;
  return {
    text: () => text,
    deflated: () => {
      deflated ??= deflate(text);
      return deflated;
    },
    digest: () => {
      digest ??= createHash("sha256").update(text).digest().subarray(0, digestBytes);
      return digest;
    },
    length: text.length,
  };
}

/** A head from the cache, which has its digest as well: neither is computed again. */
export function fromCache(deflated: Deflated, digest: Buffer): AnswerHead {
  const text = () => inflateRawSync(deflated.bytes, { finishFlush: constants.Z_SYNC_FLUSH }).toString();
  return { text, deflated: () => deflated, digest: () => digest, length: deflated.length };
}

/** Level 6: level 9 takes twice the time for 1% less, level 1 a third of it for 20% more. */
function deflate(text: string): Deflated {
  const plain = Buffer.from(text);
  // After a full flush, the following data does not refer to what is before.
  const bytes = deflateRawSync(plain, { finishFlush: constants.Z_FULL_FLUSH });
  return { bytes, crc: crc32(plain), length: plain.length };
}

/** @see RFC 1952: deflate, no flags, no time, unknown system. */
const memberHeader = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);

/**
 * One gzip member of a head and a tail.
 *
 * @param tail At most 65,535 bytes. It is stored uncompressed: deflating 100 bytes costs 25 µs and saves ten.
 */
export function gzip({ bytes, length, crc }: Deflated, tail: string): Buffer {
  const end = Buffer.from(tail);
  const block = Buffer.alloc(5, 1); // the final block, stored
  block.writeUInt16LE(end.length, 1);
  block.writeUInt16LE(end.length ^ 0xffff, 3);
  const trailer = Buffer.alloc(8);
  trailer.writeUInt32LE(crc32(end, crc), 0);
  trailer.writeUInt32LE(length + end.length, 4);
  return Buffer.concat([memberHeader, bytes, block, end, trailer]);
}

/**
 * Whether a client accepts gzip and does not prefer plain text.
 *
 * @param header Accept-Encoding. Without one, the answer is plain text.
 * @see RFC 9110, 12.5.3
 */
export function acceptsGzip(header: string | undefined): boolean {
  const weights = new Map<string, number>();
  for (const item of (header ?? "").toLowerCase().split(",")) {
    const [coding = "", ...parameters] = item.split(";").map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith("q="));
    weights.set(coding, weight === undefined ? 1 : Number(weight.slice(2)));
  }
  const gzip = weights.get("gzip") ?? weights.get("x-gzip") ?? weights.get("*") ?? 0;
  return gzip > 0 && gzip >= (weights.get("identity") ?? 0);
}
