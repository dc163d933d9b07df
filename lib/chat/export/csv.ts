import { stringify } from "csv-stringify/sync";
import type { Transcript } from "../schema.ts";
import { type ShownMessage, saidIn } from "./readable.ts";

/**
 * CSV by RFC 4180, in UTF-8: a row for each message, with the columns of its chat repeated, so that a spreadsheet can
 * filter and count messages by anything that is known of their chat. A chat without messages has one row.
 */
const columns = [
  ...["chat_id", "agent_id", "end_user_id", "chat_status", "started_at", "ended_at", "message_count"],
  ...["sentiment", "successful", "cost_cents", "metadata"],
  ...["seq", "role", "sent_at", "content", "delivery"],
] as const;

type Row = Record<(typeof columns)[number], unknown>;

const options = {
  record_delimiter: "windows",
  // A spreadsheet runs a cell as a formula if it begins with =, +, -, @, a tab or a carriage return.
  escape_formulas: true,
  quoted_match: /[\r\n]/, // csv-stringify quotes only its own kind of line break
} as const;

/** The beginning of a file: the byte order mark by which spreadsheets know UTF-8, and the names of the columns. */
export const csvHead = () => stringify([columns], { ...options, bom: true });

/** The rows of a chat, and their number. `clock` writes its times. */
export function csvRows(chat: Transcript, clock: (ms: number) => string): { text: string; rows: number } {
  const time = (ms: unknown) => (typeof ms === "number" ? clock(ms) : "");
  const about = {
    chat_id: chat.chat_id,
    agent_id: chat.agent_id,
    end_user_id: "end_user_id" in chat ? chat.end_user_id : null,
    chat_status: chat.chat_status,
    started_at: time(chat.start_timestamp),
    ended_at: time(chat.end_timestamp),
    message_count: chat.message_count,
    sentiment: plain(chat.chat_analysis?.user_sentiment),
    successful: plain(chat.chat_analysis?.chat_successful),
    cost_cents: plain(chat.chat_cost?.combined_cost),
    metadata: Object.keys(chat.metadata).length > 0 ? JSON.stringify(chat.metadata) : "",
  };
  const rows = chat.messages.flatMap((message) =>
    "role" in message ? [{ ...about, ...ofMessage(message, time) }] : [],
  );
  const all: Partial<Row>[] = rows.length > 0 ? rows : [about];
  const text = stringify(
    all.map((row) => columns.map((name) => cell(row[name]))),
    options,
  );
  return { text, rows: all.length };
}

function ofMessage(message: ShownMessage, time: (ms: unknown) => string) {
  const { seq, role, created_timestamp, delivery } = message;
  return { seq, role, sent_at: time(created_timestamp), content: saidIn(message), delivery };
}

/** What others wrote may be anything. */
const plain = (value: unknown) => (["string", "number", "boolean"].includes(typeof value) ? value : null);

/** csv-stringify writes `true` as 1, and knows no half of a surrogate pair. */
function cell(value: unknown): unknown {
  if (typeof value === "boolean") return String(value);
  return typeof value === "string" ? value.toWellFormed() : (value ?? "");
}
