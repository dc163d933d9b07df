import { constants, crc32, deflateRawSync, inflateRawSync } from "node:zlib";

/**
 * The beginning of an answer's text, up to what belongs to its request alone: what is cached, and is sent as it was
 * stored. Deflated, none of its blocks is the final one and it stops at a whole byte, so that any end fits behind it.
 * A hit of 100 chats so costs 10 µs, where inflating and deflating again cost several hundred. Two gzip members in a row
 * would be simpler, but browsers read the first and drop the rest.
 *
 * BREACH finds no hold here: no answer repeats a token or a key, and browsers send no bearer token by themselves.
 *
 * @see RFC 1951, 3.2.3 and RFC 1952, 2.3
 */
export interface AnswerHead {
  text(): string;
  deflated(): Deflated;
  /** Of the text, roughly. */
  length: number;
}

export interface Deflated {
  bytes: Buffer;
  /** CRC-32 of the text. */
  crc: number;
  /** Bytes of the text. */
  length: number;
}

/** A head that was just written; deflated when somebody wants it so, once. */
export function fromText(text: string): AnswerHead {
  let deflated: Deflated | undefined;
  return {
    text: () => text,
    deflated: () => {
      deflated ??= deflate(text);
      return deflated;
    },
    length: text.length,
  };
}

/** A head that comes from the cache. */
export function fromCache(deflated: Deflated): AnswerHead {
  const text = () => inflateRawSync(deflated.bytes, { finishFlush: constants.Z_SYNC_FLUSH }).toString();
  return { text, deflated: () => deflated, length: deflated.length };
}

/** Level 6: level 9 takes twice the time for 1% less, level 1 a third of it for 20% more. */
function deflate(text: string): Deflated {
  const plain = Buffer.from(text);
  // After a full flush, what follows refers to nothing before it.
  const bytes = deflateRawSync(plain, { finishFlush: constants.Z_FULL_FLUSH });
  return { bytes, crc: crc32(plain), length: plain.length };
}

/** @see RFC 1952: deflate, no flags, no time, no particular system. */
const memberHeader = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);

/**
 * One gzip member of a head and its end.
 *
 * @param tail At most 65,535 bytes. It is stored as it is: deflating 100 bytes costs 25 µs and saves ten of them.
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
 * Whether a client takes gzip, and likes it no less than the plain text.
 *
 * @param header Accept-Encoding; whoever sends none gets plain text, since not everybody can inflate.
 * @see RFC 9110, 12.5.3
 */
export function takesGzip(header: string | undefined): boolean {
  const weights = new Map<string, number>();
  for (const item of (header ?? "").toLowerCase().split(",")) {
    const [coding = "", ...parameters] = item.split(";").map((part) => part.trim());
    const weight = parameters.find((parameter) => parameter.startsWith("q="));
    weights.set(coding, weight === undefined ? 1 : Number(weight.slice(2)));
  }
  const gzip = weights.get("gzip") ?? weights.get("x-gzip") ?? weights.get("*") ?? 0;
  return gzip > 0 && gzip >= (weights.get("identity") ?? 0);
}
