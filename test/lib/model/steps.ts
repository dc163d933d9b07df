import { isUser, type StoredMessage } from "../../../lib/chat/model.ts";
import type { RetellMessage } from "../../../lib/retell/schema.ts";
import { asFailed, decide, type FailedWhy, storedReply, wordsOf } from "./code.ts";
import {
  type Actor,
  type Answer,
  type Clauses,
  type Ender,
  type Fate,
  type History,
  historyOf,
  type Model,
  type Outcome,
  type Sender,
  type Settler,
  type Snapshot,
  type Stranger,
  snapshot,
  spokenAt,
} from "./state.ts";

/** What each turn and each stranger says: as it is sent, and as Retell keeps it. */
export type Script = Readonly<Record<string, { sent: string; kept: string }>>;

/** What does not change while a state is followed. */
export interface Scene {
  script: Script;
  clauses: Clauses;
  /** What a call may come to. */
  fates: readonly Fate[];
}

/** A state that one step leads to, and what that step was. */
export type Next = [label: string, model: Model];

const isUnclear = { unsent: false, refused: false } as Partial<Record<Fate, boolean>>;
/** Whether a turn may be at Retell for all that its sender can know before the history is read. */
export const mayBeThere = (fate: Fate | undefined) => fate !== undefined && isUnclear[fate] !== false;

/** Every state that one step leads to. An actor that takes none any more has died. */
export function* next(m: Model, scene: Scene): Generator<Next> {
  for (const [i, actor] of m.actors.entries()) {
    if (actor.kind === "sender") yield* sender(m, i, actor, scene);
    else if (actor.kind === "settler") yield* settler(m, i, actor, scene);
    else if (actor.kind === "ender") yield* ender(m, i, actor, scene);
    else yield* stranger(m, i, actor, scene);
  }
  for (const turn of m.late) yield [`Retell shows ${turn}`, arrive(m, turn, scene.script)];
  // Retention may remove messages while the outcome of a turn is unknown.
  if (m.turn && m.cuts > 0) yield ["retention removes an entry", { ...m, cut: m.cut + 1, cuts: m.cuts - 1 }];
  yield* time(m);
}

/** Deadlines pass: each only when what it waits for cannot come any more. */
function* time(m: Model): Generator<Next> {
  const { turn } = m;
  if (!turn) return;
  const isCalling = m.actors.some((actor) => actor.kind === "sender" && actor.at === "call" && actor.turn === turn.id);
  if (!m.leaseOver && !isCalling) yield ["the lease is over", { ...m, leaseOver: true }];
  if (turn.failedByRetell && !m.lagOver && !m.settled) yield ["15 s after the 500", { ...m, lagOver: true }];
  if (m.leaseOver && !m.settled && m.late.length === 0) yield ["SETTLE is over", { ...m, settled: true }];
}

/** Retell shows a message that it took earlier, unless the chat is over. */
export function arrive(m: Model, turn: string, script: Script): Model {
  const late = m.late.filter((other) => other !== turn);
  if (m.over) return { ...m, late };
  const isGivenUp = m.turn?.id !== turn || m.lagOver;
  const truth = isGivenUp ? { ...m.truth, afterwards: [...m.truth.afterwards, turn] } : m.truth;
  return { ...hear(m, turn, script), late, truth };
}

const entries = new Map<string, readonly RetellMessage[]>();

/** What Retell keeps of an exchange. Its ids say who spoke, which no rule may rely on. */
function exchangeOf(turn: string, script: Script, ends = false): readonly RetellMessage[] {
  const content = script[turn]?.kept ?? "";
  const name = `${turn} ${content} ${ends}`;
  let found = entries.get(name);
  if (!found) {
    const call = `call-${turn}`;
    const tools: RetellMessage[] = ends
      ? [
          {
            role: "tool_call_invocation",
            name: "end_call",
            arguments: "{}",
            tool_call_id: call,
            created_timestamp: spokenAt,
          },
        ]
      : [];
    found = [
      { role: "user", content, message_id: `theirs-${turn}`, created_timestamp: spokenAt },
      { role: "agent", content: `re ${turn}`, message_id: `reply-${turn}`, created_timestamp: spokenAt },
      ...tools,
    ];
    entries.set(name, found);
  }
  return found;
}

function hear(m: Model, turn: string, script: Script, ends = false): Model {
  return { ...m, retell: [...m.retell, ...exchangeOf(turn, script, ends)], over: m.over || ends };
}

function* stranger(m: Model, i: number, actor: Stranger, { script }: Scene): Generator<Next> {
  if (actor.hasSpoken || m.over) return;
  yield [`${actor.name} speaks at Retell`, put(hear(m, actor.name, script), i, { ...actor, hasSpoken: true })];
}

/** The state with one actor changed. */
function put(m: Model, i: number, actor: Actor): Model {
  return { ...m, actors: m.actors.with(i, actor) };
}

/** A write of messages or turn: what anyone has read is old from now on. */
function write(m: Model, change: Partial<Model>): Model {
  const actors = m.actors.map((actor) =>
    actor.kind !== "stranger" && actor.chat && !actor.stale ? { ...actor, stale: true } : actor,
  );
  return { ...m, actors, ...change };
}

/** FAIL, as the store does it: fenced by the turn's id. */
function fail(m: Model, turn: string, why: FailedWhy = {}): Model {
  if (m.turn?.id !== turn) return m;
  const messages = m.messages.map((x) => (isUser(x) && x.internal?.turn === turn ? asFailed(x, why) : x));
  return write(m, { messages, turn: undefined });
}

function* sender(m: Model, i: number, me: Sender, scene: Scene): Generator<Next> {
  const say = (to: Model, told: Answer): Model => put(to, i, { ...bare(me), at: "over", told });
  const { clauses } = scene;
  const who = `${me.turn} (${me.key})`;
  switch (me.at) {
    case "begin":
      yield begin(m, i, me, scene);
      return;
    case "import":
      yield [
        `${who} imports the chat`,
        put(importChat(m, me.history as History, clauses), i, { ...bare(me), at: "begin" }),
      ];
      return;
    case "call":
      for (const fate of scene.fates) yield* call(m, i, me, fate, scene);
      return;
    case "store":
      yield* store(m, i, me, scene);
      return;
    case "ask":
      yield [`${who} reads the history`, put(m, i, { ...me, at: "apply", history: historyOf(m) })];
      // No answer from Retell: the turn stays open, and the next reader decides.
      if (clauses.refusals) yield [`${who} cannot read the history`, say(m, { code: "503" })];
      else yield [`${who} cannot read the history, FAIL`, say(fail(m, me.turn), { code: "503" })];
      return;
    case "apply": {
      const { model } = apply(m, me as Reader, clauses);
      if (model.turn?.id === me.turn)
        yield [`${who} looks again`, put(model, i, { ...me, at: "ask", chat: snapshot(model), stale: false })];
      else yield [`${who} settles`, say(model, outcomeOf(model, me.turn))];
      return;
    }
    case "final":
    case "close":
    case "note":
      yield* ending(m, i, me, clauses);
  }
}

/** A sender that holds nothing that it has read. */
function bare({ kind, key, turn, at, outcome }: Sender): Sender {
  return { kind, key, turn, at, ...(outcome ? { outcome } : {}) };
}

function begin(m: Model, i: number, me: Sender, { clauses, script }: Scene): Next {
  const who = `${me.turn} (${me.key})`;
  const say = (told: Answer): Next => [`${who} is told ${told.code}`, put(m, i, { ...me, at: "over", told })];
  if (m.retellUserCount === undefined)
    return [`${who} reads the history`, put(m, i, { ...me, at: "import", history: historyOf(m) })];
  const known = clauses.key
    ? m.messages.find(({ internal }) => internal?.key === me.key && (!internal.failed || internal.undecided))
    : undefined;
  const earlierTurn = known?.internal?.turn;
  if (earlierTurn) return say(m.turn?.id === earlierTurn ? { code: "409" } : replayOf(m, earlierTurn));
  if (m.turn && clauses.idle) return say({ code: "409" });
  if (m.status === "ended") return say({ code: "ended" });
  const message: StoredMessage = {
    role: "user",
    content: script[me.turn]?.sent ?? "",
    message_id: `own-${me.turn}`,
    created_timestamp: spokenAt,
    internal: { turn: me.turn, key: me.key, hash: "", hasLocalId: true },
  };
  const earlier = m.actors.filter((a) => a.kind === "sender" && a.key === me.key && a.turn !== me.turn);
  const isUnseen = earlier.some(
    (a) =>
      a.kind === "sender" &&
      m.truth.fates[a.turn] === "failedLate" &&
      !m.messages.some(({ message_id }) => message_id === `theirs-${a.turn}`),
  );
  const begun = write(m, {
    messages: [...m.messages, message],
    turn: { id: me.turn, state: "sending" },
    leaseOver: false,
    lagOver: false,
    settled: false,
    ...(isUnseen ? { truth: { ...m.truth, again: [...m.truth.again, me.key] } } : {}),
  });
  return [`${who} begins`, put(begun, i, { ...me, at: "call" })];
}

const outcomes: Record<Fate, Outcome> = {
  unsent: "unsent",
  refused: "refused",
  refusedTook: "refused",
  none: "unknown",
  now: "unknown",
  late: "unknown",
  failedNone: "failed",
  failedNow: "failed",
  failedLate: "failed",
  ok: "ok",
  ends: "ends",
  endsLost: "unknown",
};
const without: Fate[] = ["unsent", "refused", "none", "failedNone"];
const later: Fate[] = ["late", "failedLate"];

function* call(m: Model, i: number, me: Sender, fate: Fate, { script, clauses }: Scene): Generator<Next> {
  if (m.over && !without.includes(fate)) return;
  let after: Model = { ...m, truth: { ...m.truth, fates: { ...m.truth.fates, [me.turn]: fate } } };
  if (later.includes(fate)) after = { ...after, late: [...after.late, me.turn] };
  else if (!without.includes(fate)) after = hear(after, me.turn, script, fate === "ends" || fate === "endsLost");
  const outcome = outcomes[fate];
  yield [`${me.turn} (${me.key}) is called: ${fate}`, put(after, i, { ...me, at: "store", outcome })];
  if (outcome === "refused" && !clauses.refusals)
    yield [
      `${me.turn} (${me.key}) is called: ${fate} (429)`,
      put(after, i, { ...me, at: "store", outcome: "account" }),
    ];
}

/** What a sender writes once it knows how its call came out. */
function* store(m: Model, i: number, me: Sender, { script }: Scene): Generator<Next> {
  const who = `${me.turn} (${me.key})`;
  const isMine = m.turn?.id === me.turn;
  const say = (to: Model, told: Answer): Model => put(to, i, { ...bare(me), at: "over", told });
  switch (me.outcome) {
    case "unsent":
    case "account":
      yield [`${who} FAIL`, say({ ...fail(m, me.turn), truth: written(m, me) }, { code: "503" })];
      return;
    case "unknown":
    case "failed":
    case "refused": {
      if (!m.turn || !isMine) {
        yield [`${who} finds its turn settled`, say(m, outcomeOf(m, me.turn))];
        return;
      }
      const why =
        me.outcome === "failed"
          ? { failedByRetell: true as const }
          : me.outcome === "refused"
            ? { refusedByRetell: true as const }
            : {};
      const marked: Model = {
        ...m,
        turn: { ...m.turn, state: "unknown", ...why },
        truth: me.outcome === "refused" ? written(m, me) : m.truth,
      };
      if (me.outcome !== "refused") yield [`${who} MARK`, say(marked, { code: "504" })];
      else yield [`${who} MARK refused`, put(marked, i, { ...me, at: "ask", chat: snapshot(marked), stale: false })];
      return;
    }
    case "ok":
    case "ends": {
      if (!isMine) {
        yield [`${who} finds its turn settled`, say(m, outcomeOf(m, me.turn))];
        return;
      }
      const ids = new Set(m.messages.map(({ message_id }) => message_id));
      const reply = exchangeOf(me.turn, script, me.outcome === "ends").filter(
        (x) => !isUser(x) && !ids.has(x.message_id ?? ""),
      );
      const finished = write(m, {
        messages: [...m.messages, ...reply.map((entry) => storedReply(entry, me.turn))],
        retellUserCount: (m.retellUserCount ?? 0) + 1,
        turn: undefined,
      });
      const told: Answer = {
        code: "200",
        turn: me.turn,
        words: wordsOf(finished.messages, me.turn),
        status: "ongoing",
      };
      if (m.status === "ended") yield [`${who} FINISH, over`, put(finished, i, { ...bare(me), at: "note", told })];
      else if (me.outcome === "ends") yield [`${who} FINISH`, put(finished, i, { ...bare(me), at: "final", told })];
      else yield [`${who} FINISH`, say(finished, told)];
      return;
    }
  }
}

/** Once the lease is over the turn may be decided without it: on an old reading, which is written a moment later. */
function written(m: Model, { turn }: Sender): Model["truth"] {
  return m.turn?.id === turn && !m.leaseOver ? { ...m.truth, written: [...m.truth.written, turn] } : m.truth;
}

/**
 * After a reply the chat may be over. That it ended in this turn is told once it is noted, as a repeat is told what is
 * noted.
 */
function* ending(m: Model, i: number, me: Sender, clauses: Clauses): Generator<Next> {
  const who = `${me.turn} (${me.key})`;
  const told = me.told as Answer;
  const say = (to: Model, status: string): Model => put(to, i, { ...bare(me), at: "over", told: { ...told, status } });
  const unnoted = clauses.endedIn ? "ongoing" : "ended";
  if (me.at === "final") {
    yield [`${who} cannot read the end`, say(m, "ongoing")];
    yield [`${who} reads the end`, put(m, i, { ...me, at: "close", chat: snapshot(m), stale: false })];
  } else if (me.at === "note") {
    yield [`${who} notes the end`, say({ ...m, endedIn: me.turn }, "ended")];
    yield [`${who} cannot note the end`, say(m, m.endedIn === me.turn ? "ended" : unnoted)];
  } else {
    yield [`${who} cannot store the end`, say(m, unnoted)];
    if (me.stale) yield [`${who} reads again`, put(m, i, { ...me, chat: snapshot(m), stale: false })];
    else if (m.status === "ongoing")
      yield [`${who} closes`, say(write(m, { status: "ended", endedIn: me.turn }), "ended")];
    else if (clauses.endedIn) yield [`${who} finds it closed`, put(m, i, { ...bare(me), at: "note", told })];
    else yield [`${who} finds it closed`, say(m, "ended")];
  }
}

/** What a turn came to, as its own sender is told when another has settled it. */
function outcomeOf(m: Model, turn: string): Answer {
  const own = m.messages.findLast((x) => isUser(x) && x.internal?.turn === turn);
  if (!own || m.turn?.id === turn || own.internal?.undecided) return { code: "504" };
  if (!own.internal?.failed) return replayOf(m, turn);
  return { code: m.status === "ended" ? "ended" : "503" };
}

/** What a repeat is told. Only the turn in which the chat ended tells of the end. */
export function replayOf(m: Model, turn: string): Answer {
  const own = m.messages.findLast((x) => isUser(x) && x.internal?.turn === turn);
  if (own?.internal?.failed) return { code: "504" };
  return { code: "200", turn, words: wordsOf(m.messages, turn), status: m.endedIn === turn ? "ended" : "ongoing" };
}

function* settler(m: Model, i: number, me: Settler, { clauses }: Scene): Generator<Next> {
  const idle: Settler = { kind: "settler", at: "idle", runs: me.runs };
  if (me.at === "idle") {
    if (me.runs > 0)
      yield ["the settler reads the chat", put(m, i, { ...idle, at: "read", chat: snapshot(m), runs: me.runs - 1 })];
  } else if (me.at === "read") {
    if (isLive(me.chat as Snapshot)) yield ["the settler leaves a live turn", put(m, i, idle)];
    else yield ["the settler reads the history", put(m, i, { ...me, at: "asked", history: historyOf(m) })];
  } else {
    const { model, label } = apply(m, me as Reader, clauses);
    yield [`the settler writes: ${label}`, put(model, i, idle)];
  }
}

function* ender(m: Model, i: number, me: Ender, { clauses }: Scene): Generator<Next> {
  const [step, ...rest] = me.does;
  const name = rest.length === 3 || me.does.includes("refuse") ? "END" : "the ender";
  if (!step) return;
  const { chat } = me;
  if (step === "read")
    yield [`${name} reads the chat`, put(m, i, { ...me, does: rest, chat: snapshot(m), stale: false })];
  else if (step === "refuse")
    yield [`${name} looks`, put(m, i, chat && isLive(chat) ? { kind: "ender", does: [] } : { ...me, does: rest })];
  else if (step === "end") {
    const over = { ...m, over: true };
    yield ["the chat is ended at Retell", put(over, i, { ...me, does: rest, history: historyOf(over) })];
  } else if (chat) {
    const live = chat.retellUserCount !== undefined && isLive(chat);
    // The answer of a turn that is running when the chat ends is the last one.
    const { model, label } = live ? close(m, me as Reader, clauses, chat.turn?.id) : apply(m, me as Reader, clauses);
    const isDone = label === "closed";
    yield [
      `${name} writes: ${label}`,
      put(
        model,
        i,
        isDone
          ? { kind: "ender", does: [] }
          : { kind: "ender", does: ["read", "settle"], history: me.history as History },
      ),
    ];
  }
}

const isLive = ({ turn, leaseOver }: Snapshot) => turn?.state === "sending" && !leaseOver;

/** An actor that has read the chat, and Retell's history after it. */
export interface Reader {
  chat: Snapshot;
  stale?: boolean;
  history: History;
}

interface Applied {
  model: Model;
  label: "changed" | "closed" | "left" | "old" | "failed" | "imported";
}

/** One step of SETTLE, written only if the chat still is as it was read. */
export function apply(m: Model, reader: Reader, clauses: Clauses): Applied {
  const { chat, history } = reader;
  if (chat.retellUserCount === undefined) return { model: importChat(m, history, clauses), label: "imported" };
  const step = decide(chat, history, clauses);
  if (step.kind === "fail" && chat.turn) return { model: fail(m, chat.turn.id, step), label: "failed" };
  if (reader.stale && clauses.revision) return { model: m, label: "old" };
  if (step.kind === "append") {
    const messages = [...m.messages, ...step.entries];
    const endedIn = clauses.endedIn ? { endedIn: m.endedIn ?? step.lastTurn } : {};
    return {
      model: write(m, { messages, retellUserCount: step.retellUserCount, turn: undefined, ...endedIn }),
      label: "changed",
    };
  }
  if (step.kind === "prepend")
    return { model: write(m, { messages: [...step.entries, ...m.messages] }), label: "changed" };
  if (step.kind === "correct") {
    const { index, content } = step;
    const messages = m.messages.map((x, i) => (i === index ? { ...x, content } : x));
    return { model: write(m, { messages }), label: "changed" };
  }
  if (history.over) return close(m, reader, clauses);
  return { model: m, label: "left" };
}

function close(m: Model, { stale }: Reader, clauses: Clauses, endedIn?: string): Applied {
  if (stale && clauses.revision) return { model: m, label: "old" };
  if (m.status === "ended") return { model: m, label: "closed" };
  return {
    model: write(m, { status: "ended", ...(clauses.endedIn ? { endedIn: m.endedIn ?? endedIn } : {}) }),
    label: "closed",
  };
}

/** The import of an old chat, as the store does it: where `retellUserCount` is absent. */
function importChat(m: Model, { entries }: History, clauses: Clauses): Model {
  if (clauses.import && m.retellUserCount !== undefined) return m;
  const messages = (entries.length >= m.messages.length ? entries : m.messages) as StoredMessage[];
  return write(m, { messages, retellUserCount: messages.filter(isUser).length });
}
