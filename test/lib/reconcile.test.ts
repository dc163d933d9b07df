import { describe, expect, it } from "vitest";
import type { ReadChat, StoredMessage, Turn } from "../../lib/chat/document.ts";
import { reconcile } from "../../lib/chat/reconcile.ts";
import type { Entry } from "../../lib/retell/schema.ts";

const limits = { settleMs: 330_000, finishedMs: 15_000 };
const now = new Date(1_000_000_000);
const ago = (ms: number) => new Date(now.getTime() - ms);

const agent = (content: string, message_id?: string): Entry => ({
  role: "agent",
  content,
  ...(message_id ? { message_id } : {}),
});
const user = (content: string, message_id?: string): Entry => ({
  role: "user",
  content,
  ...(message_id ? { message_id } : {}),
});
const ours = (content: string, turn: string, failed = false): StoredMessage => ({
  role: "user",
  content,
  message_id: `own-${content}`,
  internal: { turn, own: true, ...(failed ? { failed: true } : {}) },
});

function aChat(messages: StoredMessage[], heard: number, turn?: Partial<Turn>): ReadChat {
  return {
    messages,
    now,
    chat_status: "ongoing",
    internal: { rev: 1, heard, ...(turn ? { turn: { id: "T", state: "unknown", at: ago(60_000), ...turn } } : {}) },
  } as ReadChat;
}

const history = (entries: Entry[] | undefined, chat_status: "ongoing" | "ended" | "error" = "ongoing") => ({
  chat_status,
  message_with_tool_calls: entries,
});

const opened = [agent("Hi", "m1")];

describe("an open turn", () => {
  const open = aChat([...opened, ours("ok", "T")], 0, {});

  it("is delivered once Retell shows the message and what follows it", () => {
    const step = reconcile(open, history([...opened, user("ok", "m2"), agent("fine", "m3")]), limits);
    expect(step).toMatchObject({ kind: "append", heard: 1, entries: [{ content: "fine", internal: { turn: "T" } }] });
  });

  it("waits for the reply that Retell shows later", () => {
    expect(reconcile(open, history([...opened, user("ok")]), limits)).toEqual({ kind: "later" });
  });

  it("is delivered without a reply when the chat is over", () => {
    const step = reconcile(open, history([...opened, user("ok")], "ended"), limits);
    expect(step).toEqual({ kind: "append", entries: [], heard: 1 });
  });

  it("proves nothing by its absence before SETTLE, and has failed after it", () => {
    expect(reconcile(open, history(opened), limits)).toEqual({ kind: "later" });
    const old = aChat(open.messages, 0, { at: ago(330_001) });
    expect(reconcile(old, history(opened), limits)).toEqual({ kind: "fail", reason: "absent" });
  });

  it("has failed when absent after a 4xx, after the chat's end, or 15 s after a 500", () => {
    const absent = { kind: "fail", reason: "absent" };
    expect(reconcile(aChat(open.messages, 0, { answered: true }), history(opened), limits)).toEqual(absent);
    expect(reconcile(open, history(opened, "ended"), limits)).toEqual(absent);
    const finished = (ms: number) => aChat(open.messages, 0, { finished: true, markedAt: ago(ms) });
    expect(reconcile(finished(14_999), history(opened), limits)).toEqual({ kind: "later" });
    expect(reconcile(finished(15_001), history(opened), limits)).toEqual(absent);
  });

  it("is unverified where Retell keeps no history, and only after SETTLE", () => {
    const old = aChat(open.messages, 0, { at: ago(330_001) });
    for (const none of [undefined, history(undefined)]) {
      expect(reconcile(open, none, limits)).toEqual({ kind: "later" });
      expect(reconcile(old, none, limits)).toEqual({ kind: "fail", reason: "unverified" });
    }
  });

  it("takes a history with fewer users than were heard for none", () => {
    const chat = aChat([...opened, ours("a", "A"), agent("b", "m3"), ours("ok", "T")], 1, {});
    expect(reconcile(chat, history(opened), limits)).toEqual({ kind: "later" });
  });

  it("is matched by ordinal, never by content: ok and ok, placeholders", () => {
    const twice = aChat([...opened, ours("ok", "A"), agent("one", "m3"), ours("ok", "T")], 1, {});
    const first = [...opened, user("ok"), agent("one", "m3")];
    expect(reconcile(twice, history(first), limits)).toEqual({ kind: "later" });
    const both = [...first, user("[removed]"), agent("two", "m5")];
    expect(reconcile(twice, history(both), limits)).toMatchObject({
      kind: "append",
      heard: 2,
      entries: [{ content: "two" }],
    });
  });
});

describe("an idle chat", () => {
  const idle = aChat([...opened, ours("ok", "A"), agent("one", "m3")], 1);
  const known = [...opened, user("ok", "m2"), agent("one", "m3")];

  it("needs nothing when both agree", () => {
    expect(reconcile(idle, history(known), limits)).toEqual({ kind: "none" });
    expect(reconcile(idle, history(undefined), limits)).toEqual({ kind: "none" });
  });

  it("takes what was sent elsewhere", () => {
    const step = reconcile(idle, history([...known, user("new", "m4"), agent("two", "m5")]), limits);
    expect(step).toMatchObject({ kind: "append", heard: 2, entries: [{ content: "new" }, { content: "two" }] });
  });

  it("takes what the agent said before that first, also as an opening", () => {
    const before = [...known, agent("still there?", "m4"), user("new", "m5")];
    expect(reconcile(idle, history(before), limits)).toMatchObject({
      kind: "append",
      heard: 2,
      entries: [{ content: "still there?" }, { content: "new" }],
    });
    const opening = [...opened, agent("Hello?", "m2"), user("new", "m3")];
    expect(reconcile(aChat(opened, 0), history(opening), limits)).toMatchObject({
      kind: "append",
      heard: 1,
      entries: [{ content: "Hello?" }, { content: "new" }],
    });
  });

  it("takes what the agent said since", () => {
    const step = reconcile(idle, history([...known, agent("still there?", "m4")]), limits);
    expect(step).toMatchObject({ kind: "append", heard: 1, entries: [{ content: "still there?" }] });
  });

  it("does not take an entry twice whose id we did not know", () => {
    const own: StoredMessage = { ...agent("one"), message_id: "msg_ours", internal: { own: true } };
    const chat = aChat([...opened, ours("ok", "A"), own], 1);
    expect(reconcile(chat, history(known), limits)).toEqual({ kind: "none" });
    const bare = known.map(({ message_id: _id, ...entry }) => entry);
    expect(reconcile(idle, history(bare), limits)).toEqual({ kind: "none" });
  });

  it("matches tool calls by tool_call_id and role", () => {
    const call = { role: "tool_call_invocation", tool_call_id: "t1" };
    const result = { role: "tool_call_result", tool_call_id: "t1" };
    const chat = aChat([...idle.messages, call, result], 1);
    expect(reconcile(chat, history([...known, call, result]), limits)).toEqual({ kind: "none" });
  });

  it("puts opening messages that it learns of later in front", () => {
    const chat = aChat([ours("ok", "A"), agent("one", "m3")], 1);
    expect(reconcile(chat, history(known), limits)).toMatchObject({ kind: "front", entries: [{ content: "Hi" }] });
  });

  it("appends an opening message while nobody has said anything", () => {
    expect(reconcile(aChat([], 0), history(opened), limits)).toMatchObject({
      kind: "append",
      heard: 0,
      entries: [{ content: "Hi" }],
    });
  });

  it("takes what was said before a send of ours that is done, and not that send again", () => {
    const chat = aChat([...opened, ours("lost", "T1", true), ours("ping", "T2"), agent("pong", "m4")], 1);
    const theirs = [...opened, user("lost", "m2"), agent("late", "m3"), user("ping", "m5"), agent("pong", "m4")];
    const step = reconcile(chat, history(theirs), limits);
    expect(step).toMatchObject({
      kind: "append",
      heard: 2,
      entries: [{ content: "lost", internal: { supersedes: "T1" } }, { content: "late" }],
    });
    const merged = aChat([...chat.messages, ...(step.kind === "append" ? step.entries : [])], 2);
    expect(reconcile(merged, history(theirs), limits)).toEqual({ kind: "none" });
  });

  it("goes by ordinals where ids do not tell it for sure", () => {
    const chat = aChat([...opened, ours("ping", "T"), agent("pong", "ours")], 1);
    const theirs = [...opened, user("ping"), agent("pong", "theirs"), user("elsewhere"), agent("noted", "m3")];
    const step = reconcile(chat, history(theirs), limits);
    expect(step).toMatchObject({ kind: "append", heard: 2, entries: [{ content: "elsewhere" }, { content: "noted" }] });
  });

  it("recognises a failed send that arrived after all: the oldest of the same words, once", () => {
    const chat = aChat([...opened, ours("ok", "A", true), ours("ok", "B", true)], 0);
    const step = reconcile(chat, history([...opened, user("ok"), agent("late")]), limits);
    expect(step).toMatchObject({
      kind: "append",
      heard: 1,
      entries: [{ internal: { supersedes: "A" } }, { content: "late" }],
    });
    if (step.kind !== "append") throw new Error(step.kind);
    const next = aChat([...chat.messages, ...step.entries], 1);
    const again = reconcile(next, history([...opened, user("ok"), agent("late"), user("ok"), agent("later")]), limits);
    expect(again).toMatchObject({ entries: [{ internal: { supersedes: "B" } }, { content: "later" }] });
  });
});
