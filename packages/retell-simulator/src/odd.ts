import { brotliCompressSync, deflateSync, gzipSync } from "node:zlib";

type Fields = Record<string, unknown>;

const withFields =
  (fields: Fields) =>
  (body: Fields): Fields => ({ ...body, ...fields });

const withItem =
  (list: string, item: unknown) =>
  (body: Fields): Fields => ({ ...body, [list]: Array.isArray(body[list]) ? [item, ...body[list]] : body[list] });

/** All timestamps, of the chat and of its entries, in another form. */
const withTimes =
  (form: (ms: number) => unknown) =>
  (body: Fields): Fields =>
    JSON.parse(JSON.stringify(body), (name, value) =>
      name.endsWith("_timestamp") && typeof value === "number" ? form(value) : value,
    );

/** A number that a double cannot hold. `textOf` writes its digits into the JSON. */
const digits = (number: string) => `<digits ${number}>`;

/** Bodies that Retell's schema does not allow. */
const BODIES = {
  nullPaginationKey: withFields({ pagination_key: null }),
  nullHasMore: withFields({ has_more: null }),
  itemWithoutId: withItem("items", { agent_id: "agent_nobody" }),
  nullItem: withItem("items", null),
  statusRegistered: withFields({ chat_status: "registered" }),
  statusCompleted: withFields({ chat_status: "completed" }),
  nullStatus: withFields({ chat_status: null }),
  noStatus: withFields({ chat_status: undefined }),
  nullAgentId: withFields({ agent_id: null }),
  noAgentId: withFields({ agent_id: undefined }),
  otherChatId: withFields({ chat_id: "chat_of_another" }),
  noChatId: withFields({ chat_id: undefined }),
  historyObject: withFields({ message_with_tool_calls: {} }),
  historyText: withFields({ message_with_tool_calls: "" }),
  nullHistory: withFields({ message_with_tool_calls: null }),
  noHistory: withFields({ message_with_tool_calls: undefined }),
  nullEntry: withItem("message_with_tool_calls", null),
  entryWithoutRole: withItem("message_with_tool_calls", { content: "of no role" }),
  messagesObject: withFields({ messages: {} }),
  noMessages: withFields({ messages: undefined }),
  emptyAnalysis: withFields({ chat_analysis: { chat_summary: null, custom_analysis_data: {} } }),
  timesFloat: withTimes((ms) => ms + 0.25),
  timesSeconds: withTimes((ms) => ms / 1_000),
  timesMicros: withTimes((ms) => ms * 1_000),
  timesNanos: withTimes((ms) => digits(`${Math.trunc(ms)}000000`)),
  timesText: withTimes(String),
  timesIso: withTimes((ms) => new Date(ms).toISOString()),
  timesUnreadable: withTimes(() => "a while ago"),
  largeIntegers: withFields({
    chat_analysis: {
      custom_analysis_data: { order: digits("12345678901234567890"), page: digits("17841400008460057") },
    },
    collected_dynamic_variables: { order: digits("12345678901234567890") },
  }),
} satisfies Record<string, (body: Fields) => Fields>;

type Encoded = { headers: Record<string, string>; bytes: Buffer };

const encoded = (encoding: string, bytes: Buffer): Encoded => ({ headers: { "content-encoding": encoding }, bytes });
const typed = (type: string, text: string): Encoded => ({
  headers: { "content-type": type },
  bytes: Buffer.from(text),
});

/** Unusual and broken encodings of a body. */
const ENCODINGS = {
  gzip: (text) => encoded("gzip", gzipSync(text)),
  gzipCapitals: (text) => encoded("GZIP", gzipSync(text)),
  gzipX: (text) => encoded("x-gzip", gzipSync(text)),
  gzipTwice: (text) => encoded("gzip, gzip", gzipSync(gzipSync(text))),
  gzipWithIdentity: (text) => encoded("identity, gzip", gzipSync(text)),
  gzipEmpty: () => encoded("gzip", Buffer.alloc(0)),
  gzipTruncated: (text) => encoded("gzip", gzipSync(text).subarray(0, -12)),
  gzipMislabelled: (text) => encoded("gzip", Buffer.from(text)),
  /** 300 kB that decompress to 300 MB: the text, and many equal parts, which are compressed once. */
  gzipBomb: (text) =>
    encoded("gzip", Buffer.concat([gzipSync(text), ...Array(30).fill(gzipSync(Buffer.alloc(10_000_000, " ")))])),
  deflate: (text) => encoded("deflate", deflateSync(text)),
  brotli: (text) => encoded("br", brotliCompressSync(text)),
  encodingUnknown: (text) => encoded("rot13", Buffer.from(text)),
  byteOrderMark: (text) => ({ headers: {}, bytes: Buffer.from(`\uFEFF${text}`) }),
  charsetLatin: (text) => typed("application/json; charset=iso-8859-1", text),
  typeText: (text) => typed("text/plain", text),
} satisfies Record<string, (text: string) => Encoded>;

type OddBody = keyof typeof BODIES;
type OddEncoding = keyof typeof ENCODINGS;
export type Odd = OddBody | OddEncoding;
export const ODD_BODIES = Object.keys(BODIES) as OddBody[];
export const ODD_ENCODINGS = Object.keys(ENCODINGS) as OddEncoding[];

/** The JSON text of an answer or a webhook. */
export function textOf(body: unknown): string {
  return JSON.stringify(body).replace(/"<digits (\d+)>"/g, "$1");
}

export function oddBody(name: OddBody, body: unknown): unknown {
  return typeof body === "object" && body !== null ? BODIES[name](body as Fields) : body;
}

export function oddBytes(name: OddEncoding, text: string): Encoded {
  return ENCODINGS[name](text);
}

export const isOdd = (name: string): name is Odd => isOddBody(name) || Object.hasOwn(ENCODINGS, name);
export const isOddBody = (name: string): name is OddBody => Object.hasOwn(BODIES, name);
