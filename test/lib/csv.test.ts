import { describe, expect, it } from "vitest";
import { csvHead, csvRows } from "../../lib/chat/export/csv.ts";
import type { Transcript } from "../../lib/chat/schema.ts";
import { clockIn } from "../../lib/platform/zone.ts";

const chat: Transcript = {
  chat_id: "chat_1",
  agent_id: "agent_1",
  chat_status: "ended",
  start_timestamp: Date.UTC(2026, 9, 25, 0, 30),
  end_timestamp: Date.UTC(2026, 9, 25, 1, 30),
  messages: [],
  message_count: 0,
  metadata: {},
  retell_llm_dynamic_variables: {},
  collected_dynamic_variables: {},
  chat_cost: { combined_cost: 1.5 },
  chat_analysis: { user_sentiment: "Positive", chat_successful: true },
};
const berlin = clockIn("Europe/Berlin");
const user = (content: string, seq = 1) => ({
  role: "user",
  content,
  seq,
  created_timestamp: chat.start_timestamp ?? 0,
});

/** A parser of RFC 4180, by its grammar. */
function parsed(text: string): string[][] {
  const rows: string[][] = [[]];
  const cells = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n|$)/gy;
  while (cells.lastIndex < text.length) {
    const [, quoted, bare, end] = cells.exec(text) ?? [];
    if (end === undefined) throw new Error("Not RFC 4180");
    rows.at(-1)?.push(quoted === undefined ? (bare ?? "") : quoted.replaceAll('""', '"'));
    if (end === "\r\n") rows.push([]);
  }
  return rows.slice(0, -1);
}

/** The rows by the names of their columns. */
function table(...chats: Transcript[]): Record<string, string>[] {
  const [head = [], ...rows] = parsed((csvHead() + chats.map((one) => csvRows(one, berlin).text).join("")).slice(1));
  return rows.map((row) => Object.fromEntries(row.map((value, i) => [head[i], value])));
}

describe("a CSV file", () => {
  it("begins with a byte order mark and the names of its columns", () => {
    expect(csvHead().charCodeAt(0)).toBe(0xfeff);
    expect(csvHead()).toMatch(/^\ufeffchat_id,agent_id,.*,content,delivery\r\n$/);
  });

  it("has a row for each message, with what is known of the chat; times with their offset, at a change of the clock too", () => {
    const rows = table({ ...chat, messages: [user("hello"), { ...user("how are you?", 2), role: "agent" }] });
    expect(rows).toHaveLength(2);
    expect(rows[0]).toMatchObject({
      chat_id: "chat_1",
      started_at: "2026-10-25 02:30:00 +02:00",
      ended_at: "2026-10-25 02:30:00 +01:00",
      sentiment: "Positive",
      successful: "true",
      cost_cents: "1.5",
      seq: "1",
      role: "user",
      content: "hello",
    });
    expect(rows[1]).toMatchObject({ chat_id: "chat_1", seq: "2", role: "agent" });
  });

  it("has one row for a chat without messages, and leaves cells empty whose value is none or odd", () => {
    const odd = { chat_analysis: { user_sentiment: { $gt: "" } }, chat_cost: null, start_timestamp: null };
    expect(table({ ...chat, ...odd })).toMatchObject([{ sentiment: "", cost_cents: "", started_at: "", seq: "" }]);
  });

  it.each(["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])(
    "defuses the formula %j",
    (content) => {
      const metadata = { order: 7 };
      expect(table({ ...chat, agent_id: content, metadata, messages: [user(content)] })).toMatchObject([
        { content: `'${content}`, agent_id: `'${content}`, metadata: '{"order":7}' },
      ]);
    },
  );

  it.each([
    'a "quoted" word',
    "a,b",
    "line\nline",
    "line\rline",
    "line\r\nline",
    "a;b",
    "مرحبا, 你好 👋🏽",
    " a ",
    "a = b",
  ])("gives back %j as it was said", (content) => {
    expect(table({ ...chat, messages: [user(content)] })[0]?.content).toBe(content);
  });

  it("replaces halves of surrogate pairs, which UTF-8 cannot write", () => {
    expect(table({ ...chat, messages: [user("a\ud83d")] })[0]?.content).toBe("a\ufffd");
  });
});
