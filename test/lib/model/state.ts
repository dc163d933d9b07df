import type { StoredMessage } from "../../../lib/chat/model.ts";
import type { RetellMessage } from "../../../lib/retell/schema.ts";

/** When everything was said: within what any clock allows. */
export const spokenAt = 3_600_000;

/**
 * One chat, Retell's history of it, and everyone who is at work on it. No value is ever changed in place: a step makes a
 * new state that shares with the old one what stayed the same.
 */
export interface Model {
  messages: readonly StoredMessage[];
  status: "ongoing" | "ended";
  /** How many of Retell's user entries ours account for. Absent: a chat of the old server that is not imported yet. */
  retellUserCount: number | undefined;
  turn: OpenTurn | undefined;
  /** The turn that ended the chat. */
  endedIn: string | undefined;
  /** The lease of the open turn is over: its sender has no call running. */
  leaseOver: boolean;
  /** 15 s have passed since Retell answered the open turn with a 500. */
  lagOver: boolean;
  /** SETTLE has passed since the open turn began. */
  settled: boolean;
  /** All that was ever said at Retell, in order. */
  retell: readonly RetellMessage[];
  /** How many of them, the oldest, retention has removed. */
  cut: number;
  /** How many more it may remove. */
  cuts: number;
  /** Retell has ended the chat, and takes no message any more. */
  over: boolean;
  /** Turns that Retell has taken and not shown yet. */
  late: readonly string[];
  actors: readonly Actor[];
  truth: Truth;
}

/** What really happened, which only the checks may look at. */
export interface Truth {
  /** What Retell made of each call. */
  fates: Readonly<Record<string, Fate>>;
  /** Turns of which it is stored that they were not sent, or that Retell refused them. */
  written: readonly string[];
  /** Turns that Retell showed after they had been given up for good reasons. */
  afterwards: readonly string[];
  /** Keys that were sent again while nobody could know that Retell had taken the earlier send. */
  again: readonly string[];
}

export interface OpenTurn {
  id: string;
  state: "sending" | "unknown";
  refusedByRetell?: true;
  failedByRetell?: true;
}

export type Actor = Sender | Settler | Ender | Stranger;

export interface Sender {
  kind: "sender";
  key: string;
  turn: string;
  at: "begin" | "import" | "call" | "store" | "ask" | "apply" | "final" | "close" | "note" | "over";
  /** How the call came out. */
  outcome?: Outcome;
  chat?: Snapshot;
  stale?: boolean;
  history?: History;
  told?: Answer;
}

export interface Settler {
  kind: "settler";
  at: "idle" | "read" | "asked";
  runs: number;
  chat?: Snapshot;
  stale?: boolean;
  history?: History;
}

/** END refuses while a turn is live, then ends the chat at Retell; of a WEBHOOK the chat has ended before. */
export interface Ender {
  kind: "ender";
  does: readonly ("refuse" | "end" | "read" | "settle")[];
  chat?: Snapshot;
  stale?: boolean;
  history?: History;
}

/** Somebody who speaks in the chat at Retell, and not through us. */
export interface Stranger {
  kind: "stranger";
  name: string;
  hasSpoken: boolean;
}

/** What a client is told. */
export interface Answer {
  code: "200" | "503" | "504" | "409" | "ended";
  /** Of a 200: the turn, the agent's words, and the chat's status. */
  turn?: string;
  words?: string;
  status?: string;
}

/**
 * What a call comes to, with the effect that it has at Retell:
 * - `unsent`: no connection
 * - `refused`: a 4xx of Retell's own, without effect; `refusedTook`: with one, before the answer
 * - `none`, `now`, `late`: no answer, or one of what stands between; the effect comes before SETTLE is over
 * - `failedNone`, `failedNow`, `failedLate`: a 500 of Retell's; Retell shows a late effect before SETTLE is over, though
 *   perhaps not within the 15 s that we wait after a 500
 * - `ok`: the reply; `ends`: the reply, and the agent has ended the chat; `endsLost`: the same, but no answer
 */
export type Fate =
  | "unsent"
  | "refused"
  | "refusedTook"
  | "none"
  | "now"
  | "late"
  | "failedNone"
  | "failedNow"
  | "failedLate"
  | "ok"
  | "ends"
  | "endsLost";

/** What the sender knows of it. `account`: a refusal that is not looked into. */
export type Outcome = "unsent" | "refused" | "account" | "unknown" | "failed" | "ok" | "ends";

export type Snapshot = Readonly<
  Pick<Model, "messages" | "status" | "retellUserCount" | "turn" | "endedIn" | "leaseOver" | "lagOver" | "settled">
>;

export interface History {
  entries: readonly RetellMessage[];
  over: boolean;
}

/** The clauses that make it right; each is taken out in a test of its own. */
export interface Clauses {
  /** A message whose key is stored is not stored again. */
  key: boolean;
  /** No turn begins while another is open. */
  idle: boolean;
  /** What was decided on an old reading is not written. */
  revision: boolean;
  /** A chat of the old server is imported once. */
  import: boolean;
  /** Entries are told apart by what they say. */
  texts: boolean;
  /** A message that was never sent, or refused and found absent, is no candidate for a late entry. */
  candidates: boolean;
  /** After a refusal the history is read before the turn is failed. */
  refusals: boolean;
  /** A history that lost its beginning is aligned from its end. */
  alignment: boolean;
  /** The turn that ended the chat is noted in the write that appends or closes. */
  endedIn: boolean;
}

const ids = new WeakMap<object, number>();
const interned = new Map<string, number>();
let lastId = 0;

/** A number for a value that never changes; equal values have the same. */
export function idOf(value: object | undefined): number {
  if (!value) return 0;
  let id = ids.get(value);
  if (id === undefined) {
    const text = JSON.stringify(value);
    id = interned.get(text);
    if (id === undefined) {
      lastId += 1;
      id = lastId;
      interned.set(text, id);
    }
    ids.set(value, id);
  }
  return id;
}

const bit = (flag: unknown) => (flag ? 1 : 0);

/** Two states of one name are the same state. */
export function nameOf(m: Model): string {
  let name = worldOf(m);
  for (const actor of m.actors) name += ` ${actorName(actor)}`;
  return name;
}

const actorNames = new WeakMap<Actor, string>();

function actorName(actor: Actor): string {
  let name = actorNames.get(actor);
  if (name !== undefined) return name;
  if (actor.kind === "stranger") name = String(bit(actor.hasSpoken));
  else {
    name = `${idOf(actor.chat)},${idOf(actor.history)},${bit(actor.stale)},`;
    if (actor.kind === "sender") name += `${actor.at},${actor.outcome},${idOf(actor.told)}`;
    else if (actor.kind === "settler") name += `${actor.at},${actor.runs}`;
    else name += actor.does.length;
  }
  actorNames.set(actor, name);
  return name;
}

/** What the world will find, whatever the actors do from here on. */
export function worldOf(m: Model): string {
  const flags =
    bit(m.leaseOver) + 2 * bit(m.lagOver) + 4 * bit(m.settled) + 8 * bit(m.over) + 16 * bit(m.status === "ended");
  return `${idOf(m.messages)} ${idOf(m.retell)} ${m.retellUserCount} ${idOf(m.turn)} ${m.endedIn} ${flags} ${m.cut} ${m.cuts} ${idOf(m.late)} ${idOf(m.truth)}`;
}

const snapshots = new Map<string, Snapshot>();

/** The chat as a reader finds it. */
export function snapshot({
  messages,
  status,
  retellUserCount,
  turn,
  endedIn,
  leaseOver,
  lagOver,
  settled,
}: Model): Snapshot {
  const name = `${idOf(messages)} ${status} ${retellUserCount} ${idOf(turn)} ${endedIn} ${leaseOver} ${lagOver} ${settled}`;
  const found = snapshots.get(name) ?? {
    messages,
    status,
    retellUserCount,
    turn,
    endedIn,
    leaseOver,
    lagOver,
    settled,
  };
  snapshots.set(name, found);
  return found;
}

/** Drops what is kept to be found again. */
export function forgetStates(): void {
  interned.clear();
  snapshots.clear();
  histories.clear();
}

const histories = new Map<string, History>();

/** What Retell shows of it. */
export function historyOf({ retell, cut, over }: Model): History {
  const name = `${idOf(retell)} ${cut} ${over}`;
  const found = histories.get(name) ?? { entries: retell.slice(cut), over };
  histories.set(name, found);
  return found;
}
