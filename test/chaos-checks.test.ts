import type { Document } from "mongodb";
import { describe, expect, it } from "vitest";
import { idempotencyOf } from "../lib/api/idempotency.ts";
import { routes } from "../lib/api/routes.ts";
import { Chat, type Entry } from "../packages/retell-simulator/src/schema.ts";
import { check, type Found } from "./chaos/checks.ts";
import { type Accepted, Ledger, type Sent } from "./chaos/ledger.ts";
import { common, guardedAgent, guardedWord } from "./chaos/texts.ts";

const chatId = "chat_1";
const ids = { subaccountId: "5ca1ab1e0000000000000010", userId: "5ca1ab1e0000000000000001" };
const at = 1_000_000;

const idOf = (key: string) =>
  idempotencyOf(routes.message, {
    event: {} as never,
    actor: { id: ids.userId, role: "user" },
    params: { subaccountId: ids.subaccountId, chatId },
    query: {},
    body: {},
    key,
  } as never)?.id;

/** What a run may leave behind: two sends with equal texts, a stranger's turn between them, and all is well. */
function aRun() {
  const ledger = new Ledger();
  ledger.created.set("create", chatId);
  const contents = [common(1), common(2)];
  const said = (n: number, content: string, isStrangers?: true): Entry[] => [
    {
      role: "user",
      content,
      message_id: `u${n}`,
      created_timestamp: at + n * 10_000,
      truth: { said: content, isStrangers },
    },
    {
      role: "agent",
      content: `You said: ${content.trim()} (message ${n})`,
      message_id: `a${n}`,
      created_timestamp: at + n * 10_000,
      truth: { answers: `u${n}`, isStrangers },
    },
  ];
  const entries = [...said(1, contents[0] ?? ""), ...said(2, "stranger 1", true), ...said(3, contents[1] ?? "")];
  const messages: Document[] = entries.map(({ truth: _, ...entry }) => ({ ...entry }));
  for (const [index, key] of [
    [0, "k1"],
    [4, "k2"],
  ] as const) {
    messages[index] = {
      ...messages[index],
      message_id: `ours ${key}`,
      internal: { key: idOf(key), turn: `turn ${key}` },
    };
  }
  const accept = (key: string, index: number, n: number): Accepted => {
    const from = at + n * 10_000 - 100;
    const sent: Sent = { key, client: 0, chatId, content: entries[index]?.content ?? "", from, to: from + 200 };
    const reply = messages[index + 1];
    const told: Accepted["told"] = {
      chat_id: chatId,
      chat_status: "ongoing",
      user_message: { message_id: `ours ${key}`, seq: index + 1 },
      messages: [{ message_id: `a${n}`, role: "agent", content: reply?.content, seq: index + 2 }],
    };
    return { ...sent, told };
  };
  ledger.accepted.push(accept("k1", 0, 1), accept("k2", 4, 3));
  const chat = Chat.parse({
    chat_id: chatId,
    key: "key_1",
    number: 1,
    agent_id: "agent",
    version: 1,
    status: "ongoing",
    start_timestamp: at,
    lastActivity: at,
    collected: {},
    place: "support",
    entries,
    minted: 0,
    pending: [],
    reruns: 0,
    retained: true,
    events: [],
  });
  const document: Document = {
    chat_id: chatId,
    chat_status: "ongoing",
    message_count: 6,
    messages,
    internal: { retellUserCount: 3 },
  };
  const found: Found = { ...ids, documents: [document], held: [chat] };
  return { ledger, found, document, chat, messages };
}

type Run = ReturnType<typeof aRun>;

/** Which promises the checks find broken, and what they excuse. */
function outcomeOf(change: (run: Run) => void): { broken: string[]; excused: string[] } {
  const run = aRun();
  change(run);
  check(run.ledger, run.found);
  const named = (all: Map<string, string[]>) => [...all].filter(([, found]) => found.length > 0).map(([name]) => name);
  return { broken: named(run.ledger.broken), excused: named(run.ledger.undecidable) };
}

const sorted = ({ broken, excused }: ReturnType<typeof outcomeOf>) => ({ broken: broken.sort(), excused });

/** Takes entries of ours away, or puts others there; seqs move with them. */
const splice = ({ document, messages }: Run, ...[from, count, ...put]: [number, number, ...Document[]]) => {
  messages.splice(from, count, ...put);
  document.message_count = messages.filter(({ internal }) => !internal?.failed).length;
};

/** The second send was told to stand there, and its reply behind it. */
function tellAs({ ledger }: Run, seq: number): void {
  const told = ledger.accepted[1]?.told;
  Object.assign(told?.user_message as object, { seq });
  Object.assign(told?.messages[0] as object, { seq: seq + 1 });
}

describe("the checks of a chaos run", () => {
  it("find nothing where all is well", () => {
    expect(outcomeOf(() => {})).toEqual({ broken: [], excused: [] });
  });

  it("know texts by what Retell's history may make of them", () => {
    const rewritten = outcomeOf(({ chat }) => {
      for (const entry of chat.entries) entry.content = entry.content?.trim().normalize("NFD");
    });
    expect(rewritten.broken).toEqual([]);
  });

  it.each<[string, string[], (run: Run) => void]>([
    [
      "a stranger's turn that is not here",
      ["lost"],
      (run) => {
        splice(run, 2, 2);
        tellAs(run, 3);
      },
    ],
    [
      "an entry twice",
      ["doubled"],
      (run) => splice(run, 6, 0, { role: "agent", content: "You said: ok (message 3)", message_id: "a3" }),
    ],
    [
      "a message that Retell has twice",
      ["lost", "doubled under one key"],
      ({ chat }) => chat.entries.push({ ...(chat.entries[4] as Entry), message_id: "u4" }),
    ],
    ["a 200 whose message Retell never had", ["doubled", "misattributed"], ({ chat }) => chat.entries.splice(4, 2)],
    [
      "a stranger's entry under a key",
      ["misattributed"],
      ({ messages }) => Object.assign(messages[2] as Document, { internal: { key: idOf("k3") } }),
    ],
    [
      "an answer that is to another's message",
      ["misattributed"],
      ({ chat }) => Object.assign(chat.entries[5] as Entry, { truth: { answers: "u2" } }),
    ],
    [
      "an end that the document lacks",
      ["told otherwise"],
      ({ chat }) => Object.assign(chat, { status: "ended", disconnection_reason: "agent_hangup" }),
    ],
    [
      "a message that is stored elsewhere than it was told",
      ["told otherwise"],
      ({ ledger }) => Object.assign(ledger.accepted[1]?.told.user_message as object, { seq: 4 }),
    ],
    ["replies that were not told", ["told otherwise"], ({ ledger }) => ledger.accepted[1]?.told.messages.splice(0, 1)],
    [
      "half a text",
      ["lost"],
      ({ messages, ledger }) => {
        Object.assign(messages[5] as Document, { content: "You said" });
        Object.assign(ledger.accepted[1]?.told.messages[0] as object, { content: "You said" });
      },
    ],
    ["an open turn", ["stuck"], ({ document }) => Object.assign(document.internal, { turn: { id: "turn" } })],
    [
      "a message that was refused and is there",
      ["refused, yet delivered"],
      ({ ledger }) => ledger.refused.push(...ledger.accepted.splice(1)),
    ],
    [
      "another order than Retell's",
      ["out of order"],
      ({ document, messages, ledger }) => {
        document.messages = [...messages.slice(4), ...messages.slice(0, 4)];
        for (const { told } of ledger.accepted) {
          const move = (seq: number) => (seq > 4 ? seq - 4 : seq + 2);
          told.user_message.seq = move(told.user_message.seq);
          for (const message of told.messages) message.seq = move(message.seq);
        }
      },
    ],
    [
      "a chat that was handed out, and ended by nobody's wish",
      ["ended alive"],
      ({ chat, document }) => {
        Object.assign(chat, { status: "ended", disconnection_reason: "manual_stopped" });
        document.chat_status = "ended";
      },
    ],
    ["a chat in two stages", ["doubled"], ({ found, document }) => found.documents.push({ ...document })],
    [
      "a chat of a create that nobody has",
      ["orphans"],
      ({ found, chat }) =>
        found.held.push({
          ...chat,
          chat_id: "chat_2",
          metadata: { _scalai_chat: { request: "r", stage: "s" } },
          entries: [],
        }),
    ],
  ])("find %s", (_what, broken, change) => {
    const outcome = outcomeOf(change);
    expect(outcome.broken.sort()).toEqual(broken.sort());
    expect(outcome.excused).toEqual([]);
  });

  /** The second send is given to somebody else's entry: Retell never had it. */
  const misattribute = ({ chat, messages, ledger }: Run) => {
    chat.entries.splice(4, 2);
    messages.splice(4, 2);
    Object.assign(messages[2] as Document, { internal: { key: idOf("k2") } });
    Object.assign(ledger.accepted[1] as Accepted, { from: at + 20_000, to: at + 20_100 });
  };

  it.each<[string, string, (run: Run) => void]>([
    [
      "a stranger's equal text",
      "a stranger's equal text",
      (run) => {
        misattribute(run);
        Object.assign(run.chat.entries[2]?.truth as object, { said: "ok" });
      },
    ],
    ["a stranger who is the first to speak beside a send", "the first stranger", misattribute],
    [
      "what the old server has overwritten since",
      "overwritten by the old server",
      (run) => {
        misattribute(run);
        run.ledger.overwritten.push({ chatId, at: at + 25_000 });
      },
    ],
    [
      "a stranger who spoke before the reply",
      "a stranger in the middle of a turn",
      ({ chat, ledger }) => {
        chat.entries = [0, 2, 3, 1, 4, 5].map((place) => chat.entries[place] as Entry);
        Object.assign(ledger.accepted[0]?.told.messages[0] as object, {
          message_id: "a2",
          content: "You said: str",
          seq: 4,
        });
      },
    ],
  ])("count %s apart", (_what, excuse, change) => {
    expect(outcomeOf(change).excused).toEqual([excuse]);
  });

  /** The second send is told that it stays undecided: its entry is stored as somebody else's. */
  const leaveUndecided = ({ ledger, messages }: Run) => {
    ledger.undecided.push(...ledger.accepted.splice(1));
    messages[4] = { ...messages[4], message_id: "u3", internal: {} };
  };

  it("count undecided sends apart where others spoke, or where a placeholder stands for the text, and nowhere else", () => {
    const undecided = { broken: [], excused: ["undecided"] };
    const isNot = { broken: ["misattributed", "stuck"], excused: [] };
    const withoutStranger = (run: Run) => {
      leaveUndecided(run);
      for (const entry of run.chat.entries) Object.assign(entry.truth as object, { isStrangers: undefined });
    };
    expect(outcomeOf(leaveUndecided)).toEqual(undecided);
    expect(sorted(outcomeOf(withoutStranger))).toEqual(isNot);
    /** The old server has overwritten the first send, not the second. */
    const besideOverwritten = (run: Run) => {
      withoutStranger(run);
      const [{ from: first } = { from: 0 }, { from: second } = { from: 0 }] = [
        ...run.ledger.accepted,
        ...run.ledger.undecided,
      ];
      run.ledger.overwritten.push({ chatId, at: (first + second) / 2 });
    };
    expect(outcomeOf(besideOverwritten)).toEqual(undecided);
    const overwrittenLater = (run: Run) => {
      leaveUndecided(run);
      run.ledger.overwritten.push({ chatId, at: at + 1_000_000 });
    };
    expect(outcomeOf(overwrittenLater).broken).toEqual([]);
    const blocked = (agent_id: string) => (run: Run) => {
      withoutStranger(run);
      Object.assign(run.chat, { agent_id });
      const content = `${guardedWord} of k2`;
      Object.assign(run.ledger.undecided[0] as Sent, { content });
      Object.assign(run.chat.entries[4]?.truth as object, { said: content });
    };
    expect(outcomeOf(blocked(guardedAgent))).toEqual(undecided);
    expect(sorted(outcomeOf(blocked("agent")))).toEqual(isNot);
  });

  it("count a send apart that got the entry of one whose place a stranger's equal text has taken, and no other's", () => {
    /** A third send, whose entry stands beside; the second is accepted with the third's answer. */
    const swap = (isDisplaced: boolean) => (run: Run) => {
      const { chat, ledger } = run;
      const third = { ...(ledger.accepted[1] as Accepted), key: "k3", content: common(3) };
      chat.entries.push(
        {
          role: "user",
          content: common(3),
          message_id: "u4",
          created_timestamp: at + 30_000,
          truth: { said: common(3) },
        },
        {
          role: "agent",
          content: "You said: 3",
          message_id: "a4",
          created_timestamp: at + 30_000,
          truth: { answers: "u4" },
        },
      );
      if (isDisplaced) {
        Object.assign(chat.entries[2] as Entry, { content: "ok", created_timestamp: at + 29_950 });
        Object.assign(chat.entries[2]?.truth as object, { said: "ok" });
        third.told = { ...third.told, messages: [{ ...third.told.messages[0], message_id: "a2" } as never] };
      }
      splice(run, 5, 1, { role: "agent", content: "You said: 3", message_id: "a4" });
      splice(run, 6, 0, { role: "user", content: "ok", message_id: "u4" }, { ...chat.entries[5], truth: undefined });
      Object.assign(ledger.accepted[1]?.told.messages[0] as object, { message_id: "a4", content: "You said: 3" });
      if (isDisplaced) ledger.accepted.push(third);
      else ledger.unanswered.push(third);
    };
    expect(outcomeOf(swap(true)).broken).not.toContain("misattributed");
    expect(outcomeOf(swap(false)).broken).toContain("misattributed");
  });

  it("excuse no doubled key by what a stranger said, and nothing lost by what the old server overwrote", () => {
    const doubled = outcomeOf(({ chat }) => {
      Object.assign(chat.entries[2]?.truth as object, { said: "ok" });
      Object.assign(chat.entries[2] as Entry, { created_timestamp: at + 30_000 });
      chat.entries.push({ ...(chat.entries[4] as Entry), message_id: "u4" });
    });
    expect(doubled.broken).toContain("doubled under one key");
    const lost = outcomeOf((run) => {
      run.ledger.overwritten.push({ chatId, at: at + 25_000 });
      splice(run, 5, 1);
    });
    expect(lost.broken).toContain("lost");
  });

  it("excuse nothing else of what happened beside it", () => {
    const later = (run: Run) => {
      misattribute(run);
      Object.assign(run.ledger.accepted[1] as Accepted, { from: at + 100_000, to: at + 100_100 });
    };
    expect(outcomeOf(later)).toEqual({ broken: ["misattributed", "told otherwise"], excused: [] });
  });
});
