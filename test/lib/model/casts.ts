import { isUser, type StoredMessage } from "../../../lib/chat/model.ts";
import type { RetellMessage } from "../../../lib/retell/schema.ts";
import { type Actor, type Clauses, type Fate, type Model, spokenAt } from "./state.ts";
import type { Scene, Script } from "./steps.ts";
import { type Walk, walk } from "./walk.ts";

export const all: Clauses = {
  key: true,
  idle: true,
  revision: true,
  import: true,
  texts: true,
  candidates: true,
  refusals: true,
  alignment: true,
  endedIn: true,
};

/** Two sends, of two clients or of one that repeats with its key. */
const clients = { "two clients": ["K1", "K2"], "one client that repeats": ["K1", "K1"] } as const;

const thirds = {
  none: [],
  "a settler": [{ kind: "settler", at: "idle", runs: 1 }],
  "a settler, twice": [{ kind: "settler", at: "idle", runs: 2 }],
  "an END": [{ kind: "ender", does: ["read", "refuse", "end", "settle"] }],
  "a WEBHOOK": [{ kind: "ender", does: ["end", "read", "settle"] }],
} satisfies Record<string, Actor[]>;

const same = (text: string) => ({ sent: text, kept: text });
const texts = {
  alike: { A: same("ok"), B: same("ok"), stranger: same("ok") },
  different: { A: same("one"), B: same("two"), stranger: same("three") },
  "alike but the stranger's": { A: same("ok"), B: same("ok"), stranger: same("three") },
  "the stranger's as A's": { A: same("ok"), B: same("two"), stranger: same("ok") },
  "the stranger's as B's": { A: same("one"), B: same("ok"), stranger: same("ok") },
  "kept without white space": {
    A: { sent: " cafe\u0301\n", kept: "caf\u00e9" },
    B: { sent: "two  words ", kept: "two words" },
    stranger: same("three"),
  },
  "A's replaced by a guardrail": { A: { sent: "one", kept: "[removed]" }, B: same("two"), stranger: same("three") },
} satisfies Record<string, Script>;

/** What was said before: by the old server and its user, which kept only the last turn; or through us. */
const spoken = (id: string, prefix: string): RetellMessage[] => [
  { role: "user", content: "ok", message_id: `${prefix}-${id}`, created_timestamp: spokenAt },
  { role: "agent", content: `re ${id}`, message_id: `reply-${id}`, created_timestamp: spokenAt },
];
const old = [...spoken("old0", "theirs"), ...spoken("old1", "theirs")];
const chats = {
  "a new chat": { messages: [], retellUserCount: 0, retell: [] },
  "a chat that goes on": {
    messages: spoken("old0", "own").map(
      (x): StoredMessage => ({ ...x, internal: { turn: "old0", ...(isUser(x) ? { hasLocalId: true } : {}) } }),
    ),
    retellUserCount: 1,
    retell: spoken("old0", "theirs"),
  },
  "the old server's chat": { messages: old.slice(2) as StoredMessage[], retellUserCount: undefined, retell: old },
} satisfies Record<string, Pick<Model, "messages" | "retellUserCount" | "retell">>;

export const calls = {
  plain: ["unsent", "refused", "none", "now", "late", "ok"],
  refusals: ["unsent", "refused", "refusedTook", "ok", "late"],
  500: ["refused", "failedNone", "failedNow", "failedLate", "ok"],
  "a refusal and a 500": ["refused", "failedLate"],
  endings: ["none", "now", "ok", "ends", "endsLost"],
  "every but the agent's end": [
    "unsent",
    "refused",
    "refusedTook",
    "none",
    "now",
    "late",
    "failedNone",
    "failedNow",
    "failedLate",
    "ok",
  ],
} satisfies Record<string, Fate[]>;

/** Who takes part, in what chat, and what may happen. */
export interface Cast {
  clients: keyof typeof clients;
  third?: keyof typeof thirds;
  stranger?: boolean;
  texts: keyof typeof texts;
  chat: keyof typeof chats;
  /** Entries that retention may remove. */
  cuts?: number;
  calls: keyof typeof calls;
}

export function begin(cast: Cast, clauses: Clauses = all): { start: Model; scene: Scene } {
  const [first, second] = clients[cast.clients];
  const actors: Actor[] = [
    { kind: "sender", key: first, turn: "A", at: "begin" },
    { kind: "sender", key: second, turn: "B", at: "begin" },
    ...thirds[cast.third ?? "none"],
    ...(cast.stranger ? [{ kind: "stranger" as const, name: "stranger", hasSpoken: false }] : []),
  ];
  const start: Model = {
    ...chats[cast.chat],
    status: "ongoing",
    turn: undefined,
    endedIn: undefined,
    leaseOver: false,
    lagOver: false,
    settled: false,
    cut: 0,
    cuts: cast.cuts ?? 0,
    over: false,
    late: [],
    actors,
    truth: { fates: {}, written: [], afterwards: [], again: [] },
  };
  // One client that repeats says the same again.
  const script: Script = { ...texts[cast.texts] };
  const scene = {
    script: first === second ? { ...script, B: script.A as { sent: string; kept: string } } : script,
    clauses,
    fates: calls[cast.calls],
  };
  return { start, scene };
}

/** Walks through a cast. Without a clause, or some, it should find a violation. */
export function violationOf(cast: Cast, without: Partial<Clauses> = {}): Walk {
  const { start, scene } = begin(cast, { ...all, ...without });
  const found = walk(start, scene);
  if (!found.violation || Object.keys(without).length > 0) return found;
  // The shortest way to a violation says most.
  return walk(start, scene, { isShortest: true });
}

export const nameOfCast = ({ clients, third, texts, chat, calls, stranger, cuts }: Cast): string =>
  `${clients}, ${third}${stranger ? ", a stranger" : ""}; texts ${texts}; ${chat}${cuts ? `, ${cuts} removed` : ""}; calls: ${calls}`;
