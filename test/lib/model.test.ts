import { expect, it } from "vitest";
import { isUser, type ReadChat, type StoredMessage } from "../../lib/chat/document.ts";
import { reconcile } from "../../lib/chat/reconcile.ts";
import type { Entry } from "../../lib/retell/schema.ts";

/**
 * The turn protocol as a small model, walked through exhaustively: two senders and a third (a settler, an END or a
 * WEBHOOK of the chat's end), in every order of their steps, with a crash at every place, in a chat of ours or one that
 * must be adopted first, and a Retell that takes a message at once, late or never, and answers or does not. A third
 * that dies is one that comes last: it holds nothing, and the sweep, which has the last word, does the same. Only
 * `reconcile` is the real code; the guarded writes of lib/chat/store.ts are modelled by what they check.
 */
interface Model {
  messages: StoredMessage[];
  status: "ongoing" | "ended";
  /** Absent: the old server's chat. */
  heard: number | undefined;
  rev: number;
  turn: { id: string; state: "sending" | "unknown"; answered?: true } | null;
  /** The lease of the open turn is over: whoever sends it has no call running. */
  leaseOver: boolean;
  /** SETTLE has passed since the open turn began. */
  settled: boolean;
  retell: Entry[];
  /** Retell has ended the chat, and takes no message any more. */
  over: boolean;
  /** Messages that Retell has and will take up before SETTLE is over, by turn. */
  late: { turn: string; key: string }[];
  actors: Actor[];
  /** What each key's callers were told last. */
  told: Record<string, "200" | "503" | "504" | "409" | "ended">;
}

type Actor =
  | {
      kind: "sender";
      key: string;
      turn: string;
      at: "begin" | "adopt" | "call" | "over";
      history?: Entry[];
      does?: "finish" | "mark" | "fail" | "markAnswered";
    }
  | { kind: "settler"; at: "idle" | "read" | "asked"; chat?: Snapshot; history?: History; runs: number }
  | { kind: "ender"; does: EnderStep[]; chat?: Snapshot; history?: History };

/** END refuses while a turn is live, then ends the chat at Retell; of a WEBHOOK the chat has ended before. */
type EnderStep = "refuse" | "end" | "read" | "settle";

interface History {
  entries: Entry[];
  over: boolean;
}

type Snapshot = Pick<Model, "messages" | "status" | "heard" | "rev" | "turn" | "leaseOver" | "settled">;

const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value));
const minutes = (n: number) => new Date(n * 60_000);

function asChat({ messages, status, heard, rev, turn, settled }: Snapshot): ReadChat {
  return {
    messages,
    now: minutes(10),
    chat_status: status,
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
  if (own?.internal) own.internal.failed = true;
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
    if (actor.kind === "sender") yield* sender(model, i, actor, act, guards);
    else if (actor.kind === "settler") yield* settler(i, actor, act, guards);
    else yield* ender(i, actor, act, guards);
  }
  // Retell takes up what it got late: only before SETTLE is over, which is what SETTLE means.
  for (const [i] of model.late.entries()) {
    yield act((m) => {
      const [arrived] = m.late.splice(i, 1);
      if (arrived && !m.over) m.retell.push(...heardAs(arrived.turn));
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

type Of<Kind extends Actor["kind"]> = Extract<Actor, { kind: Kind }>;

function* sender(model: Model, i: number, actor: Of<"sender">, act: Act, guards: Guards): Generator<Model> {
  const me = (m: Model) => m.actors[i] as typeof actor;
  const over = (m: Model, told?: Model["told"][string]) => {
    me(m).at = "over";
    if (told) m.told[actor.key] = told;
  };
  if (actor.at === "over") return;
  yield act((m) => over(m)); // the process dies here

  if (actor.at === "begin") {
    yield act((m) => {
      if (m.heard === undefined) return void Object.assign(me(m), { at: "adopt", history: copy(m.retell) });
      const known = guards.key && m.messages.find(({ internal }) => internal?.key === actor.key && !internal.failed);
      if (known) return over(m, m.turn?.id === known.internal?.turn ? "409" : "200");
      if (m.turn && guards.idle) return over(m, "409");
      if (m.status === "ended") return over(m, "ended");
      m.messages.push(userOf(actor.turn, actor.key));
      m.turn = { id: actor.turn, state: "sending" };
      m.rev += 1;
      m.leaseOver = false;
      m.settled = false;
      me(m).at = "call";
    });
  } else if (actor.at === "adopt") {
    yield act((m) => {
      adopt(m, actor.history ?? [], guards);
      me(m).at = "begin";
      delete me(m).history;
    });
  } else if (!actor.does) {
    // CALL: what Retell does, and what comes back.
    yield act((m) => {
      me(m).does = "fail";
    }); // surely not sent
    yield act((m) => {
      me(m).does = "markAnswered";
    }); // a 4xx
    yield act((m) => {
      me(m).does = "mark";
    }); // no answer, never taken
    if (model.over) return;
    yield act((m) => {
      m.retell.push(...heardAs(actor.turn));
      me(m).does = "finish";
    });
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
          m.heard = (m.heard ?? 0) + 1;
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

function* settler(i: number, actor: Of<"settler">, act: Act, guards: Guards): Generator<Model> {
  const me = (m: Model) => m.actors[i] as typeof actor;
  if (actor.at === "idle") {
    if (actor.runs > 0) yield act((m) => Object.assign(me(m), { at: "read", chat: snapshot(m), runs: actor.runs - 1 }));
  } else if (actor.at === "read") {
    yield act((m) => {
      if (actor.chat && isLive(actor.chat)) return idle(me(m)); // stop
      Object.assign(me(m), { at: "asked", history: historyOf(m) });
    });
  } else {
    yield act((m) => {
      const { chat, history } = actor;
      idle(me(m));
      if (chat && history) apply(m, chat, history, guards);
    });
  }
}

function* ender(i: number, actor: Of<"ender">, act: Act, guards: Guards): Generator<Model> {
  const me = (m: Model) => m.actors[i] as typeof actor;
  const [step, ...rest] = actor.does;
  if (!step) return;
  yield act((m) => {
    me(m).does = step === "refuse" && actor.chat && isLive(actor.chat) ? [] : rest;
    if (step === "read") me(m).chat = snapshot(m);
    if (step === "end") {
      m.over = true;
      me(m).history = historyOf(m);
    }
    const { chat, history } = actor;
    if (step !== "settle" || !chat || !history) return;
    if (chat.heard !== undefined && isLive(chat)) {
      if (!close(m, chat, guards)) me(m).does = ["read", "settle"];
    } else if (apply(m, chat, history, guards) !== "closed") me(m).does = ["read", "settle"];
  });
}

function idle(actor: Of<"settler">): void {
  actor.at = "idle";
  delete actor.chat;
  delete actor.history;
}

const snapshot = ({ messages, status, heard, rev, turn, leaseOver, settled }: Model): Snapshot =>
  copy({ messages, status, heard, rev, turn, leaseOver, settled });
const historyOf = ({ retell, over }: Model): History => copy({ entries: retell, over });
const isLive = ({ turn, leaseOver }: Snapshot) => turn?.state === "sending" && !leaseOver;

/** Whether the chat still is as it was read. */
const isSeen = (m: Model, seen: Snapshot, guards: Guards) =>
  !guards.rev || (m.rev === seen.rev && m.turn?.id === seen.turn?.id);

/** One step of SETTLE, written only if the chat still is as it was read. */
function apply(m: Model, seen: Snapshot, { entries, over }: History, guards: Guards): "changed" | "closed" | "left" {
  if (seen.heard === undefined) return adopt(m, entries, guards);
  const chat_status = over ? "ended" : "ongoing";
  const step = reconcile(asChat(seen), { chat_status, message_with_tool_calls: entries }, limits);
  if (step.kind === "fail" && seen.turn) {
    fail(m, seen.turn.id);
    return "changed";
  }
  if (!isSeen(m, seen, guards)) return "changed"; // by somebody else
  if (step.kind === "append") {
    m.messages.push(...step.entries);
    m.heard = step.heard;
    m.turn = null;
    m.rev += 1;
    return "changed";
  }
  return step.kind === "none" && over && close(m, seen, guards) ? "closed" : "left";
}

function close(m: Model, seen: Snapshot, guards: Guards): boolean {
  if (!isSeen(m, seen, guards)) return false;
  if (m.status === "ongoing") m.rev += 1;
  m.status = "ended";
  return true;
}

/** ADOPT, as the store does it: where `heard` is absent. */
function adopt(m: Model, entries: Entry[], guards: Guards): "changed" {
  if (guards.adopt && m.heard !== undefined) return "changed";
  m.messages = copy(entries.length >= m.messages.length ? entries : m.messages) as StoredMessage[];
  m.heard = m.messages.filter(isUser).length;
  m.rev = 1;
  return "changed";
}

/** The clauses that make it right; each is taken out in a test of its own. */
interface Guards {
  key: boolean;
  idle: boolean;
  rev: boolean;
  adopt: boolean;
}

/** Two sends, of two clients or of one that repeats with its key, and who comes beside them. */
const senders = { "two clients": ["K1", "K2"], "one client that repeats": ["K1", "K1"] } as const;
const thirds: Record<string, Actor> = {
  "a settler": { kind: "settler", at: "idle", runs: 2 },
  "an END": { kind: "ender", does: ["read", "refuse", "end", "settle"] },
  "a WEBHOOK": { kind: "ender", does: ["end", "read", "settle"] },
};
/** What the old server and its user have said: it kept only the last turn. */
const spoken: Entry[] = [0, 1].flatMap((n) => [
  { role: "user", content: "ok", message_id: `old-${n}` },
  { role: "agent", content: `re old-${n}`, message_id: `old-reply-${n}` },
]);
const origins = {
  "our own chat": { messages: [], heard: 0, retell: [] },
  "the old server's chat": { messages: spoken.slice(2) as StoredMessage[], heard: undefined, retell: spoken },
};

interface Cast {
  clients: keyof typeof senders;
  third: keyof typeof thirds;
  chat: keyof typeof origins;
}

function start({ clients, third, chat }: Cast): Model {
  const [first, second] = senders[clients];
  return {
    ...copy(origins[chat]),
    status: "ongoing",
    rev: 0,
    turn: null,
    leaseOver: false,
    settled: false,
    over: false,
    late: [],
    actors: [
      { kind: "sender", key: first, turn: "A", at: "begin" },
      { kind: "sender", key: second, turn: "B", at: "begin" },
      copy(thirds[third] as Actor),
    ],
    told: {},
  };
}

/** What is wrong with a state in which nobody has anything left to do, once the sweep has had the last word. */
function violations(end: Model): string[] {
  const m = copy(end);
  for (const { turn } of m.late.splice(0)) if (!m.over) m.retell.push(...heardAs(turn));
  m.leaseOver = true;
  m.settled = true;
  for (let round = 0; round < 5; round++) apply(m, snapshot(m), historyOf(m), all);

  const found: string[] = [];
  if (m.turn) found.push("stuck");
  if (m.over !== (m.status === "ended")) found.push(`ended at Retell: ${m.over}, here: ${m.status}`);
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
function walk(cast: Cast, guards: Guards): { states: number; ends: number; violation?: string[] } {
  const seen = new Set<string>();
  const open = [start(cast)];
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

const all: Guards = { key: true, idle: true, rev: true, adopt: true };

const casts: Cast[] = Object.keys(thirds).flatMap((third) => [
  { clients: "two clients", third, chat: "our own chat" },
  { clients: "one client that repeats", third, chat: "our own chat" },
  { clients: "one client that repeats", third, chat: "the old server's chat" },
]);

it.each(casts)(
  "nothing is lost, doubled, out of order or stuck in any order of events and crashes: $clients beside $third, in $chat",
  (cast) => {
    const { states, ends, violation } = walk(cast, all);
    expect(violation).toBeUndefined();
    expect(states).toBeGreaterThan(10_000);
    expect(ends).toBeGreaterThan(500);
  },
);

it.each(["key", "idle", "rev", "adopt"] as const)("it is not so without the %s clause", (clause) => {
  expect(casts.some((cast) => walk(cast, { ...all, [clause]: false }).violation !== undefined)).toBe(true);
});
