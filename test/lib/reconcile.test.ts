import { describe, expect, it } from "vitest";
import type { ChatSnapshot, StoredMessage, Turn } from "../../lib/chat/model.ts";
import { reconcile } from "../../lib/chat/reconcile.ts";
import type { RetellMessage } from "../../lib/retell/schema.ts";

const limits = { settleMs: 330_000, settleAfter500Ms: 15_000 };
const now = new Date(1_000_000_000);
const ago = (ms: number) => new Date(now.getTime() - ms);

const agent = (content: string, message_id?: string): RetellMessage => ({
  role: "agent",
  content,
  ...(message_id ? { message_id } : {}),
});
const user = (content: string, message_id?: string): RetellMessage => ({
  role: "user",
  content,
  ...(message_id ? { message_id } : {}),
});
const ours = (content: string, turn: string, failed = false): StoredMessage => ({
  role: "user",
  content,
  message_id: `own-${content}`,
  internal: { turn, hasLocalId: true, ...(failed ? { failed: true, mayArrive: true } : {}) },
});

function aChat(messages: StoredMessage[], retellUserCount: number, turn?: Partial<Turn>): ChatSnapshot {
  return {
    messages,
    now,
    chat_status: "ongoing",
    internal: {
      revision: 1,
      retellUserCount,
      ...(turn ? { turn: { id: "T", state: "unknown", at: ago(60_000), ...turn } } : {}),
    },
  } as ChatSnapshot;
}

const history = (entries: RetellMessage[] | undefined, chat_status: "ongoing" | "ended" | "error" = "ongoing") => ({
  chat_status,
  message_with_tool_calls: entries,
});

const opened = [agent("Hi", "m1")];

describe("an open turn", () => {
  const open = aChat([...opened, ours("ok", "T")], 0, {});

  it("is delivered once Retell shows the message and what follows it", () => {
    const step = reconcile(open, history([...opened, user("ok", "m2"), agent("fine", "m3")]), limits);
    expect(step).toMatchObject({
      kind: "append",
      retellUserCount: 1,
      entries: [{ content: "fine", internal: { turn: "T" } }],
    });
  });

  it("waits for the reply that Retell shows later", () => {
    expect(reconcile(open, history([...opened, user("ok")]), limits)).toEqual({ kind: "later" });
  });

  it("is delivered without a reply when the chat is over", () => {
    const step = reconcile(open, history([...opened, user("ok")], "ended"), limits);
    expect(step).toEqual({ kind: "append", entries: [], retellUserCount: 1, lastTurn: "T" });
  });

  it("proves nothing by its absence before SETTLE, and has failed after it", () => {
    expect(reconcile(open, history(opened), limits)).toEqual({ kind: "later" });
    const old = aChat(open.messages, 0, { at: ago(330_001) });
    expect(reconcile(old, history(opened), limits)).toEqual({ kind: "fail", reason: "absent", mayArrive: true });
  });

  it("has failed when absent after a 4xx, after the chat's end, or 15 s after a 500", () => {
    const absent = { kind: "fail", reason: "absent", mayArrive: true };
    const never = { ...absent, mayArrive: false };
    expect(reconcile(aChat(open.messages, 0, { refusedByRetell: true }), history(opened), limits)).toEqual(never);
    expect(reconcile(open, history(opened, "ended"), limits)).toEqual(never);
    const finished = (ms: number) => aChat(open.messages, 0, { failedByRetell: true, markedAt: ago(ms) });
    expect(reconcile(finished(14_999), history(opened), limits)).toEqual({ kind: "later" });
    expect(reconcile(finished(15_001), history(opened), limits)).toEqual(absent);
  });

  it("is unverified where Retell keeps no history, and only after SETTLE", () => {
    const old = aChat(open.messages, 0, { at: ago(330_001) });
    for (const none of [undefined, history(undefined)]) {
      expect(reconcile(open, none, limits)).toEqual({ kind: "later" });
      expect(reconcile(old, none, limits)).toEqual({ kind: "fail", reason: "unverified", mayArrive: true });
    }
  });

  it("takes a history without any user entry for none, when some were delivered", () => {
    const chat = aChat([...opened, ours("a", "A"), agent("b", "m3"), ours("ok", "T")], 1, {});
    expect(reconcile(chat, history(opened), limits)).toEqual({ kind: "later" });
  });

  const twice = aChat([...opened, ours("ok", "A"), agent("one", "m3"), ours("ok", "T")], 1, {});
  const first = [...opened, user("ok"), agent("one", "m3")];

  it("is not taken for an earlier message of the same text", () => {
    expect(reconcile(twice, history(first), limits)).toEqual({ kind: "later" });
    const step = reconcile(twice, history([...first, user("ok"), agent("two", "m5")]), limits);
    expect(step).toMatchObject({
      kind: "append",
      retellUserCount: 2,
      entries: [{ content: "two", internal: { turn: "T" } }],
    });
  });

  it("is found by its text, however Retell writes it", () => {
    const sent = aChat([...opened, ours("caf\u0065\u0301\r\nnow ", "T")], 0, {});
    const step = reconcile(sent, history([...opened, user("caf\u00e9\nnow"), agent("fine", "m3")]), limits);
    expect(step).toMatchObject({ kind: "append", entries: [{ internal: { turn: "T" } }] });
  });

  it("is found by its place when a guardrail replaced its text, once its text cannot come any more", () => {
    const at = (ms: number) => ({ ...user("[removed]"), created_timestamp: now.getTime() - ms });
    const replaced = [...first, user("[removed]"), agent("two", "m5")];
    expect(reconcile(twice, history(replaced), limits)).toEqual({ kind: "later" });
    const old = aChat(twice.messages, 1, { at: ago(330_001) });
    const found = { kind: "append", retellUserCount: 2, entries: [{ content: "two", internal: { turn: "T" } }] };
    expect(reconcile(old, history(replaced), limits)).toMatchObject(found);
    expect(reconcile(twice, history(replaced, "ended"), limits)).toMatchObject(found);
    const created = (ms: number) => history([...first, at(ms), agent("two", "m5")]);
    expect(reconcile(old, created(330_000), limits)).toMatchObject(found);
    expect(reconcile(old, created(320_000), limits)).toMatchObject({ kind: "fail", reason: "undecided" });
  });

  it("is not taken for what somebody else said: before it, after it, or in its place when Retell refused it", () => {
    const stranger = [user("else", "d1"), agent("noted", "d2")];
    const own = [user("ok", "m8"), agent("fine", "m9")];
    for (const spoken of [
      [...stranger, ...own],
      [...own, ...stranger],
    ]) {
      const step = reconcile(open, history([...opened, ...spoken]), limits);
      expect(step).toMatchObject({
        kind: "append",
        retellUserCount: 2,
        entries: [{ content: "fine", internal: { turn: "T" } }, { content: "else" }, { content: "noted" }],
      });
    }
  });

  it("is undecided when Retell refused it and somebody else spoke meanwhile: that may be it, its text replaced", () => {
    const refused = aChat(open.messages, 0, { refusedByRetell: true, markedAt: ago(55_000) });
    const spoken = (ms: number | undefined) => {
      const said = { ...user("else", "d1"), ...(ms === undefined ? {} : { created_timestamp: now.getTime() - ms }) };
      return reconcile(refused, history([...opened, said, agent("noted", "d2")]), limits);
    };
    for (const ms of [60_000, 57_000, undefined])
      expect(spoken(ms)).toEqual({ kind: "fail", reason: "undecided", mayArrive: false });
    for (const ms of [62_000, 53_000]) expect(spoken(ms)).toEqual({ kind: "fail", reason: "absent", mayArrive: false });
  });

  it("is the one of several equal texts that came soonest after it", () => {
    const said = (ms: number, n: number) => [
      { ...user("ok", `u${n}`), created_timestamp: now.getTime() - ms },
      agent(`answer ${n}`, `a${n}`),
    ];
    const spoken = history([
      ...opened,
      ...said(120_000, 1),
      ...said(61_500, 2),
      ...said(59_900, 3),
      ...said(50_000, 4),
    ]);
    const step = reconcile(open, spoken, limits);
    expect(step).toMatchObject({
      kind: "append",
      entries: [{ content: "answer 3", internal: { turn: "T" } }, {}, {}, {}, {}, {}, {}],
    });
    const gone: StoredMessage = {
      ...ours("ok", "A"),
      internal: { turn: "A", failed: true, mayArrive: true, sentAt: now.getTime() - 120_100 },
    };
    const both = aChat([...opened, gone, ours("ok", "T")], 0, { at: ago(330_001) });
    const late = reconcile(both, history([...opened, ...said(120_000, 1)]), limits);
    expect(late).toEqual({ kind: "fail", reason: "absent", mayArrive: true });
  });

  it("is not what stands there since before it, in the same words: that leaves it undecided", () => {
    const said = [{ ...user("ok", "d1"), created_timestamp: now.getTime() - 62_000 }, agent("noted", "d2")];
    expect(reconcile(open, history([...opened, ...said]), limits)).toEqual({ kind: "later" });
    const old = aChat(open.messages, 0, { at: ago(330_001) });
    const before = [{ ...user("ok", "d1"), created_timestamp: now.getTime() - 332_000 }, agent("noted", "d2")];
    const step = reconcile(old, history([...opened, ...before]), limits);
    expect(step).toEqual({ kind: "fail", reason: "undecided", mayArrive: true });
  });

  it("stays undecided when two spoke after it, though only one of them at once", () => {
    const said = (ms: number, n: number) => [
      { ...user(`[removed]`, `d${n}`), created_timestamp: now.getTime() - ms },
      agent(`${n}`, `e${n}`),
    ];
    const old = aChat(open.messages, 0, { at: ago(330_001) });
    const step = reconcile(old, history([...opened, ...said(329_000, 1), ...said(326_000, 2)]), limits);
    expect(step).toEqual({ kind: "fail", reason: "undecided", mayArrive: true });
  });

  it("stays undecided when others spoke and none of them said its text", () => {
    const others = [user("one", "d1"), agent("a", "d2"), user("two", "d3"), agent("b", "d4")];
    const old = aChat(open.messages, 0, { at: ago(330_001) });
    const step = reconcile(old, history([...opened, ...others]), limits);
    expect(step).toEqual({ kind: "fail", reason: "undecided", mayArrive: true });
  });

  it("is found in a history that has lost its beginning", () => {
    const later = [user("ok", "m4"), agent("two", "m5")];
    const chat = aChat([...opened, ours("first", "A"), agent("one", "m3"), ours("ok", "T")], 1, {});
    for (const rest of [later, [agent("one", "m3"), ...later]]) {
      const step = reconcile(chat, history(rest), limits);
      expect(step).toMatchObject({
        kind: "append",
        retellUserCount: 2,
        entries: [{ content: "two", internal: { turn: "T" } }],
      });
    }
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
    expect(step).toMatchObject({
      kind: "append",
      retellUserCount: 2,
      entries: [{ content: "new" }, { content: "two" }],
    });
  });

  it("takes what the agent said before that first, also as an opening", () => {
    const before = [...known, agent("still there?", "m4"), user("new", "m5")];
    expect(reconcile(idle, history(before), limits)).toMatchObject({
      kind: "append",
      retellUserCount: 2,
      entries: [{ content: "still there?" }, { content: "new" }],
    });
    const opening = [...opened, agent("Hello?", "m2"), user("new", "m3")];
    expect(reconcile(aChat(opened, 0), history(opening), limits)).toMatchObject({
      kind: "append",
      retellUserCount: 1,
      entries: [{ content: "Hello?" }, { content: "new" }],
    });
  });

  it("takes what the agent said since", () => {
    const step = reconcile(idle, history([...known, agent("still there?", "m4")]), limits);
    expect(step).toMatchObject({ kind: "append", retellUserCount: 1, entries: [{ content: "still there?" }] });
  });

  it("does not take an entry twice whose id we did not know", () => {
    const own: StoredMessage = { ...agent("one"), message_id: "msg_ours", internal: { hasLocalId: true } };
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
    expect(reconcile(chat, history(known), limits)).toMatchObject({ kind: "prepend", entries: [{ content: "Hi" }] });
  });

  it("appends an opening message while nobody has said anything", () => {
    expect(reconcile(aChat([], 0), history(opened), limits)).toMatchObject({
      kind: "append",
      retellUserCount: 0,
      entries: [{ content: "Hi" }],
    });
  });

  it("takes what was said before a send of ours that is done, and not that send again", () => {
    const chat = aChat([...opened, ours("lost", "T1", true), ours("ping", "T2"), agent("pong", "m4")], 1);
    const theirs = [...opened, user("lost", "m2"), agent("late", "m3"), user("ping", "m5"), agent("pong", "m4")];
    const step = reconcile(chat, history(theirs), limits);
    expect(step).toMatchObject({
      kind: "append",
      retellUserCount: 2,
      entries: [{ content: "lost", internal: { supersedes: "T1" } }, { content: "late" }],
    });
    const merged = aChat([...chat.messages, ...(step.kind === "append" ? step.entries : [])], 2);
    expect(reconcile(merged, history(theirs), limits)).toEqual({ kind: "none" });
  });

  it("goes by ordinals where ids do not tell it for sure", () => {
    const chat = aChat([...opened, ours("ping", "T"), agent("pong", "ours")], 1);
    const theirs = [...opened, user("ping"), agent("pong", "theirs"), user("elsewhere"), agent("noted", "m3")];
    const step = reconcile(chat, history(theirs), limits);
    expect(step).toMatchObject({
      kind: "append",
      retellUserCount: 2,
      entries: [{ content: "elsewhere" }, { content: "noted" }],
    });
  });

  it("recognises a failed send that arrived after all: the oldest of the same words, once", () => {
    const chat = aChat([...opened, ours("ok", "A", true), ours("ok", "B", true)], 0);
    const step = reconcile(chat, history([...opened, user("ok"), agent("late")]), limits);
    expect(step).toMatchObject({
      kind: "append",
      retellUserCount: 1,
      entries: [{ internal: { supersedes: "A" } }, { content: "late" }],
    });
    if (step.kind !== "append") throw new Error(step.kind);
    const next = aChat([...chat.messages, ...step.entries], 1);
    const again = reconcile(next, history([...opened, user("ok"), agent("late"), user("ok"), agent("later")]), limits);
    expect(again).toMatchObject({ entries: [{ internal: { supersedes: "B" } }, { content: "later" }] });
  });

  it("does not take a late entry for a send that was refused or never made", () => {
    const refused: StoredMessage = { ...ours("ok", "A"), internal: { turn: "A", failed: true } };
    const step = reconcile(aChat([...opened, refused], 0), history([...opened, user("ok", "m2")]), limits);
    expect(step).toMatchObject({ kind: "append", entries: [{ content: "ok" }] });
    expect(step).not.toMatchObject({ entries: [{ internal: { supersedes: "A" } }] });
  });

  it("goes by MongoDB's clock, not by the instance's, for when a send was made that was given up", () => {
    const gone: StoredMessage = { ...ours("ok", "A", true), created_timestamp: now.getTime() - 130_000 };
    Object.assign(gone.internal ?? {}, { sentAt: now.getTime() - 100_000 });
    const said = { ...user("ok", "d1"), created_timestamp: now.getTime() - 110_000 };
    const step = reconcile(aChat([...opened, gone], 0), history([...opened, said]), limits);
    expect(step).toMatchObject({ kind: "append", entries: [{ message_id: "d1" }] });
    expect(step).not.toMatchObject({ entries: [{ internal: { supersedes: "A" } }] });
  });

  it("recognises a failed send that arrived after all and whose text was replaced", () => {
    const chat = aChat([...opened, ours("bomb", "A", true)], 0);
    const step = reconcile(chat, history([...opened, user("[removed]"), agent("no")]), limits);
    expect(step).toMatchObject({ kind: "append", entries: [{ internal: { supersedes: "A" } }, { content: "no" }] });
  });

  it("tells tool calls of different turns apart that share a tool_call_id", () => {
    const turn = (n: number): RetellMessage[] => [
      user("ok", `u${n}`),
      { role: "tool_call_invocation", tool_call_id: "call_0", message_id: `c${n}` },
      { role: "tool_call_result", tool_call_id: "call_0", message_id: `r${n}`, content: `${n}` },
      agent(`done ${n}`, `a${n}`),
    ];
    const chat = aChat([...turn(1), ours("ok", "B"), agent("done 2", "a2")], 2);
    const step = reconcile(chat, history([...turn(1), ...turn(2)]), limits);
    expect(step).toMatchObject({ kind: "append", entries: [{ message_id: "c2" }, { message_id: "r2" }] });
  });

  it("corrects an entry of which it has the beginning", () => {
    const chat = aChat([...opened, ours("ok", "A"), agent("I have fou", "m3")], 1);
    const step = reconcile(chat, history([...opened, user("ok"), agent("I have found it", "m3")]), limits);
    expect(step).toEqual({ kind: "correct", index: 2, content: "I have found it" });
    const scrubbed = reconcile(chat, history([...opened, user("ok"), agent("I", "m3")]), limits);
    expect(scrubbed).toEqual({ kind: "none" });
  });

  it.each<[string, string | undefined, string]>([
    ["nothing", undefined, "I have found it"],
    ["an empty text", "", "I have found it"],
    ["a blank at the end, which is trimmed in the whole", "I have fou ", "I have found it"],
    ["other line ends", "one\n", "one\r\ntwo"],
    ["characters that are composed otherwise", "cafe\u0301 is", "caf\u00e9 is open"],
    ["half of a surrogate pair", "so \ufffd", "so \u{1F600} then"],
  ])("corrects an entry of which it has %s", (_what, half, whole) => {
    const { content: _content, ...silent } = agent("", "m3");
    const chat = (content = half) =>
      aChat([...opened, ours("ok", "A"), content === undefined ? silent : agent(content, "m3")], 1);
    const told = history([...opened, user("ok"), agent(whole, "m3")]);
    expect(reconcile(chat(), told, limits)).toEqual({ kind: "correct", index: 2, content: whole });
    expect(reconcile(chat(whole), told, limits)).toEqual({ kind: "none" });
    const same = history([...opened, user("ok"), half === undefined ? silent : agent(half, "m3")]);
    expect(reconcile(chat(), same, limits)).toEqual({ kind: "none" });
  });

  it("corrects what somebody else said, and no send of ours, of which we know the whole", () => {
    const chat = aChat([...opened, { ...user("I wa", "m2"), internal: {} }, agent("fine", "m3")], 1);
    const told = history([...opened, user("I want a lamp", "m2"), agent("fine", "m3")]);
    expect(reconcile(chat, told, limits)).toEqual({ kind: "correct", index: 1, content: "I want a lamp" });
    const sent = aChat([...opened, { ...user("I wa", "m2"), internal: { turn: "A" } }, agent("fine", "m3")], 1);
    expect(reconcile(sent, told, limits)).toEqual({ kind: "none" });
  });

  it("takes no new message for an equal one that the history has lost", () => {
    const said = [ours("ok", "A"), agent("said: ok (12)", "m1"), ours("go", "B"), agent("gone", "m3")];
    const chat = aChat([...said, ours("ok", "T")], 2, { at: ago(330_001) });
    const theirs = [user("go"), agent("gone", "m3"), user("ok"), agent("said: ok", "m5")];
    const step = reconcile(chat, history(theirs), limits);
    expect(step).toMatchObject({ kind: "append", entries: [{ content: "said: ok", internal: { turn: "T" } }] });
  });

  it("does not take what others said for a message of ours that the history has lost", () => {
    const chat = aChat([...opened, ours("first", "A"), agent("one", "m3"), ours("ok", "B"), agent("two", "m5")], 2);
    const theirs = [user("else", "d1"), agent("noted", "d2"), user("ok"), agent("two", "m5")];
    const step = reconcile(chat, history(theirs), limits);
    expect(step).toMatchObject({
      kind: "append",
      retellUserCount: 3,
      entries: [{ content: "else" }, { content: "noted" }],
    });
  });

  it("keeps what others said where the history that is left begins, whether it begins with a reply of ours or not", () => {
    const said = [
      ours("a", "A"),
      agent("one", "m1"),
      ours("b", "B"),
      agent("two", "m3"),
      ours("c", "C"),
      agent("three", "m5"),
    ];
    const chat = aChat(said, 3);
    const stranger = [user("else", "d1"), agent("noted", "d2")];
    const rest = [user("c", "m4"), agent("three", "m5")];
    for (const left of [
      [agent("two", "m3"), ...stranger, ...rest],
      [...stranger, ...rest],
    ]) {
      for (const status of ["ongoing", "ended"] as const) {
        const step = reconcile(chat, history(left, status), limits);
        expect(step).toMatchObject({ kind: "append", entries: [{ content: "else" }, { content: "noted" }] });
      }
    }
  });

  it("keeps a placeholder that stands for another's entry than the one that the history has lost", () => {
    const refusal = agent("I cannot talk about that", "m2");
    const said: StoredMessage[] = [
      { ...user("[removed]", "m1"), internal: {} },
      { ...refusal, internal: {} },
    ];
    const chat = aChat([...said, ours("b", "B"), agent("two", "m4")], 2);
    const rest = [user("b", "m3"), agent("two", "m4"), user("[removed]", "m5"), { ...refusal, message_id: "m6" }];
    const step = reconcile(chat, history(rest), limits);
    expect(step).toMatchObject({ kind: "append", entries: [{ message_id: "m5" }, { message_id: "m6" }] });
  });

  it("finds a silent message of ours in front of what others said before it and we learned of after it", () => {
    const learned: StoredMessage[] = [
      { ...user("else", "d1"), internal: {} },
      { ...agent("noted", "d2"), internal: {} },
    ];
    const chat = aChat(
      [ours("a", "A"), agent("one", "m1"), ours("b", "B"), ...learned, ours("c", "C"), agent("three", "m5")],
      4,
    );
    const rest = [agent("noted", "d2"), user("b", "m3"), user("c", "m4"), agent("three", "m5")];
    expect(reconcile(chat, history(rest), limits)).toEqual({ kind: "none" });
  });

  it("finds what was scrubbed after the end on both sides where no id tells, from its end", () => {
    const own = (content: string): StoredMessage => ({
      ...agent(content),
      message_id: `own ${content}`,
      internal: { hasLocalId: true },
    });
    const chat = aChat(
      [ours("a", "A"), own("one"), ours("b", "B"), own("two"), ours("c", "C"), agent("three", "m5")],
      3,
    );
    const scrubbed = [user("[x]"), agent("[y]"), user("c"), agent("three", "m5")];
    expect(reconcile(chat, history(scrubbed, "ended"), limits)).toEqual({ kind: "none" });
  });

  it("keeps what others said in one place, though it stands elsewhere in Retell's history and has no id", () => {
    const chat = aChat([...opened, ours("ping", "T"), agent("pong", "m4")], 1);
    const theirs = [...opened, user("else"), agent("noted"), user("ping"), agent("pong", "m4")];
    const step = reconcile(chat, history(theirs), limits);
    expect(step).toMatchObject({
      kind: "append",
      retellUserCount: 2,
      entries: [{ content: "else" }, { content: "noted" }],
    });
    const merged = aChat([...chat.messages, ...(step.kind === "append" ? step.entries : [])], 2);
    expect(reconcile(merged, history(theirs), limits)).toEqual({ kind: "none" });
  });
});
