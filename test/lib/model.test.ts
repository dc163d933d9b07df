import { expect, it } from "vitest";
import { isUser, type ReadChat, type StoredMessage } from "../../lib/chat/document.ts";
import { reconcile } from "../../lib/chat/reconcile.ts";
import type { Entry } from "../../lib/retell/client.ts";

/**
 * The turn protocol as a small model, walked through exhaustively: two senders and a settler, in every order of their steps, with a crash at every place, and a Retell that takes a message
 * at once, late or never, and answers or does not. Only `reconcile` is the real code; the guarded writes of
 * lib/chat/store.ts are modelled by what they check.
 */
interface Model {
  messages: StoredMessage[];
  heard: number;
  rev: number;
  turn: { id: string; state: "sending" | "unknown"; answered?: true } | null;
  /** The lease of the open turn is over: whoever sends it has no call running. */
  leaseOver: boolean;
  /** SETTLE has passed since the open turn began. */
  settled: boolean;
  retell: Entry[];
  /** Messages that Retell has and will take up before SETTLE is over, by turn. */
  late: { turn: string; key: string }[];
  actors: Actor[];
  /** What each key's callers were told last. */
  told: Record<string, "200" | "503" | "504" | "409">;
}

type Actor =
  | {
      kind: "sender";
      key: string;
      turn: string;
      at: "begin" | "call" | "over";
      does?: "finish" | "mark" | "fail" | "markAnswered";
    }
  | { kind: "settler"; at: "idle" | "read" | "asked"; chat?: Snapshot; history?: Entry[]; runs: number };

type Snapshot = Pick<Model, "messages" | "heard" | "rev" | "turn" | "settled">;

const copy = <T>(value: T): T => structuredClone(value);
const minutes = (n: number) => new Date(n * 60_000);

function asChat({ messages, heard, rev, turn, settled }: Snapshot): ReadChat {
  return {
    messages,
    now: minutes(10),
    chat_status: "ongoing",
    internal: {
      rev,
      heard,
      ...(turn ? { turn: { ...turn, operationId: "", at: settled ? minutes(0) : minutes(9) } } : {}),
    },
  } as ReadChat;
}

const limits = { settleMs: 330_000, finishedMs: 15_000 };
const userOf = (turn: string, key: string): StoredMessage => ({
  role: "user",
  content: "ok", // all alike: content must not matter
  message_id: `own-${turn}`,
  internal: { turn, key, own: true },
});
const replyTo = (turn: string): Entry => ({ role: "agent", content: `re ${turn}`, message_id: `reply-${turn}` });
const heardAs = (turn: string): Entry[] => [
  { role: "user", content: "ok", message_id: `theirs-${turn}` },
  replyTo(turn),
];

/** FAIL, as the store does it: fenced by the turn's id. */
function fail(model: Model, turn: string): void {
  if (model.turn?.id !== turn) return;
  const own = model.messages.find((m) => isUser(m) && m.internal?.turn === turn);
  if (own?.internal) {
    own.internal.failed = true;
    delete own.internal.key;
  }
  model.turn = null;
  model.rev += 1;
}

/** Every state that one step of anybody leads to. */
function* next(model: Model, guards: Guards): Generator<Model> {
  const act = (change: (model: Model) => void) => {
    const after = copy(model);
    change(after);
    return after;
  };

  for (const [i, actor] of model.actors.entries()) {
    if (actor.kind === "sender") yield* sender(i, actor, act, guards);
    else yield* settler(i, actor, act, guards);
  }
  // Retell takes up what it got late: only before SETTLE is over, which is what SETTLE means.
  for (const [i] of model.late.entries()) {
    yield act((m) => {
      const [arrived] = m.late.splice(i, 1);
      if (arrived) m.retell.push(...heardAs(arrived.turn));
    });
  }
  const isCalling = model.actors.some(
    (a) => a.kind === "sender" && a.at === "call" && a.turn === model.turn?.id && !a.does,
  );
  if (model.turn && !model.leaseOver && !isCalling) {
    yield act((m) => {
      m.leaseOver = true;
    });
  }
  if (model.turn && model.leaseOver && !model.settled && model.late.length === 0) {
    yield act((m) => {
      m.settled = true;
    });
  }
}

type Act = (change: (model: Model) => void) => Model;

function* sender(i: number, actor: Extract<Actor, { kind: "sender" }>, act: Act, guards: Guards): Generator<Model> {
  const me = (m: Model) => m.actors[i] as typeof actor;
  const over = (m: Model, told?: Model["told"][string]) => {
    me(m).at = "over";
    if (told) m.told[actor.key] = told;
  };
  if (actor.at === "over") return;
  yield act((m) => over(m)); // the process dies here

  if (actor.at === "begin") {
    yield act((m) => {
      const known = guards.key && m.messages.find((x) => x.internal?.key === actor.key);
      if (known) return over(m, m.turn?.id === known.internal?.turn ? "409" : "200");
      if (m.turn && guards.idle) return over(m, "409");
      m.messages.push(userOf(actor.turn, actor.key));
      m.turn = { id: actor.turn, state: "sending" };
      m.rev += 1;
      m.leaseOver = false;
      m.settled = false;
      me(m).at = "call";
    });
  } else if (!actor.does) {
    // CALL: what Retell does, and what comes back.
    yield act((m) => {
      m.retell.push(...heardAs(actor.turn));
      me(m).does = "finish";
    });
    yield act((m) => {
      me(m).does = "fail";
    }); // surely not sent
    yield act((m) => {
      me(m).does = "markAnswered";
    }); // a 4xx
    yield act((m) => {
      me(m).does = "mark";
    }); // no answer, never taken
    yield act((m) => {
      m.retell.push(...heardAs(actor.turn));
      me(m).does = "mark";
    });
    yield act((m) => {
      m.late.push({ turn: actor.turn, key: actor.key });
      me(m).does = "mark";
    });
  } else {
    yield act((m) => {
      const isMine = m.turn?.id === actor.turn;
      if (actor.does === "finish") {
        if (isMine) {
          m.messages.push({ ...replyTo(actor.turn), internal: { turn: actor.turn } });
          m.heard += 1;
          m.rev += 1;
          m.turn = null;
        }
        over(m, "200");
      } else if (actor.does === "fail") {
        fail(m, actor.turn);
        over(m, "503");
      } else {
        if (isMine && m.turn)
          m.turn = { ...m.turn, state: "unknown", ...(actor.does === "markAnswered" ? { answered: true } : {}) };
        over(m, "504");
      }
    });
  }
}

function* settler(i: number, actor: Extract<Actor, { kind: "settler" }>, act: Act, guards: Guards): Generator<Model> {
  const me = (m: Model) => m.actors[i] as typeof actor;
  if (actor.at === "idle") {
    if (actor.runs > 0) yield act((m) => Object.assign(me(m), { at: "read", chat: snapshot(m), runs: actor.runs - 1 }));
  } else if (actor.at === "read") {
    yield act((m) => {
      const chat = actor.chat;
      if (chat?.turn?.state === "sending" && !m.leaseOver && chat.rev === m.rev) return idle(me(m)); // live: stop
      Object.assign(me(m), { at: "asked", history: copy(m.retell) });
    });
  } else {
    yield act((m) => {
      const { chat, history } = actor;
      idle(me(m));
      if (chat && history) apply(m, chat, history, guards);
    });
  }
}

function idle(actor: Extract<Actor, { kind: "settler" }>): void {
  actor.at = "idle";
  delete actor.chat;
  delete actor.history;
}

const snapshot = ({ messages, heard, rev, turn, settled }: Model): Snapshot =>
  copy({ messages, heard, rev, turn, settled });

/** One step of SETTLE, written only if the chat still is as it was read. */
function apply(m: Model, seen: Snapshot, history: Entry[], guards: Guards): void {
  const step = reconcile(asChat(seen), { chat_status: "ongoing", message_with_tool_calls: history }, limits);
  const isSeen = !guards.rev || (m.rev === seen.rev && m.turn?.id === seen.turn?.id);
  if (step.kind === "append" && isSeen) {
    m.messages.push(...step.entries);
    m.heard = step.heard;
    m.turn = null;
    m.rev += 1;
  } else if (step.kind === "fail" && seen.turn) fail(m, seen.turn.id);
}

/** The clauses that make it right; each is taken out in a test of its own. */
interface Guards {
  key: boolean;
  idle: boolean;
  rev: boolean;
}

/** Two sends and whoever settles them, twice: of two clients, or of one that repeats with its key. */
const casts = {
  "two clients": ["K1", "K2"],
  "one client that repeats": ["K1", "K1"],
} as const;

function start([first, second]: readonly [string, string]): Model {
  return {
    messages: [],
    heard: 0,
    rev: 0,
    turn: null,
    leaseOver: false,
    settled: false,
    retell: [],
    late: [],
    actors: [
      { kind: "sender", key: first, turn: "A", at: "begin" },
      { kind: "sender", key: second, turn: "B", at: "begin" },
      { kind: "settler", at: "idle", runs: 2 },
    ],
    told: {},
  };
}

/** What is wrong with a state in which nobody has anything left to do, once the sweep has had the last word. */
function violations(end: Model): string[] {
  const m = copy(end);
  for (const { turn } of m.late.splice(0)) m.retell.push(...heardAs(turn));
  m.leaseOver = true;
  m.settled = true;
  for (let round = 0; round < 4; round++) apply(m, snapshot(m), copy(m.retell), { key: true, idle: true, rev: true });

  const found: string[] = [];
  if (m.turn) found.push("stuck");
  const superseded = new Set(m.messages.map(({ internal }) => internal?.supersedes));
  const delivered = m.messages.filter((x) => !(isUser(x) && x.internal?.failed));
  const shape = (entries: Entry[]) => entries.map(({ role, content }) => `${role}:${content}`).join(" ");
  if (shape(delivered) !== shape(m.retell))
    found.push(`history: ours ${shape(delivered)} | Retell's ${shape(m.retell)}`);
  const senders = m.actors.filter((actor) => actor.kind === "sender");
  for (const key of new Set(senders.map((sender) => sender.key))) {
    const turns = senders.filter((sender) => sender.key === key).map(({ turn }) => turn);
    const sent = m.retell.filter((x) => isUser(x) && turns.some((turn) => x.message_id === `theirs-${turn}`)).length;
    if (sent > 1) found.push(`doubled under ${key}`);
    const failed = m.messages.filter(
      (x) =>
        isUser(x) && x.internal?.failed && turns.includes(x.internal.turn ?? "") && !superseded.has(x.internal.turn),
    );
    if (m.told[key] === "200" && sent === 0) found.push(`lost under ${key}`);
    if (sent === 1 && failed.length > 1) found.push(`failed twice under ${key}`);
  }
  return found;
}

/** Walks through all that can happen; the first violation ends it. */
function walk(cast: keyof typeof casts, guards: Guards): { states: number; ends: number; violation?: string[] } {
  const seen = new Set<string>();
  const open = [start(casts[cast])];
  let ends = 0;
  for (let model = open.pop(); model; model = open.pop()) {
    const name = JSON.stringify(model);
    if (seen.has(name)) continue;
    seen.add(name);
    let isEnd = true;
    for (const after of next(model, guards)) {
      isEnd = false;
      open.push(after);
    }
    if (!isEnd) continue;
    ends += 1;
    const violation = violations(model);
    if (violation.length > 0) return { states: seen.size, ends, violation };
  }
  return { states: seen.size, ends };
}

const all: Guards = { key: true, idle: true, rev: true };

const both = Object.keys(casts) as (keyof typeof casts)[];

it.each(both)("nothing is lost, doubled, out of order or stuck in any order of events and crashes: %s", (cast) => {
  const { states, ends, violation } = walk(cast, all);
  expect(violation).toBeUndefined();
  expect(states).toBeGreaterThan(5_000);
  expect(ends).toBeGreaterThan(100);
});

it.each(["key", "idle", "rev"] as const)("it is not so without the %s clause", (clause) => {
  const found = both.map((cast) => walk(cast, { ...all, [clause]: false }).violation);
  expect(found.some((violation) => violation !== undefined)).toBe(true);
});
