import type * as z from "zod";
import type { routes } from "../../lib/api/routes.ts";

/** A message that a client has tried to send until it knew how it stands. */
export interface Sent {
  /** The Idempotency-Key. */
  key: string;
  client: number;
  chatId: string;
  /** No two sends of a run have the same: see texts.ts. */
  content: string;
  /** Epoch ms of the first request, and of the answer that the client took as the last word. */
  from: number;
  to: number;
}

/** A message that a client was told is stored, and what it was told of it. */
export interface Accepted extends Sent {
  told: z.output<(typeof routes)["message"]["data"]>;
}

/** The promises that a run puts to the test; none may be broken. */
export const promises = [
  "lost",
  "doubled",
  "doubled under one key",
  "misattributed",
  "out of order",
  "stuck",
  "undocumented answers",
  "told otherwise",
  "refused, yet delivered",
  "ended alive",
  "orphans",
  "unhandled rejections",
  "instances that died by themselves",
] as const;
export type Promised = (typeof promises)[number];

/**
 * What docs/turns.md calls undecidable, and what it can lead to: that breaks no promise, and is counted apart. Each reason
 * is taken from what the simulator and the run itself know, not from what the API says.
 */
export const excuses = {
  /** The old server overwrote the messages after this send began. */
  "overwritten by the old server": ["misattributed", "told otherwise", "doubled under one key", "out of order"],
  /** While this send was under way, a stranger said what cannot be told from it. */
  "a stranger's equal text": ["misattributed", "out of order"],
  /** A stranger's entry stands between the message and the end of its reply. */
  "a stranger in the middle of a turn": ["misattributed", "told otherwise"],
  /** What others said may be this send, or its own text was replaced, and the client was told that it stays undecided. */
  undecided: ["stuck", "misattributed", "out of order"],
  /** Nobody else had spoken in the chat before, and the send never arrived. */
  "the first stranger": ["misattributed", "lost"],
} as const satisfies Record<string, readonly Promised[]>;
export type Excuse = keyof typeof excuses;
export const reasons = Object.keys(excuses) as Excuse[];

/** What the clients of a run have done and were told, and what was found to be wrong. */
export class Ledger {
  readonly accepted: Accepted[] = [];
  /** Told that the chat is over. */
  readonly refused: Sent[] = [];
  readonly unanswered: Sent[] = [];
  /** Told that it cannot be decided whether Retell has it. */
  readonly undecided: Sent[] = [];
  /** By the key of its create. */
  readonly created = new Map<string, string>();
  /** Chats that a client has asked to be ended. */
  readonly endsAsked = new Set<string>();
  /** When the old server overwrote the messages of which chat (epoch ms). */
  readonly overwritten: { chatId: string; at: number }[] = [];
  /** Requests to send a message; a message takes as many as it needs. */
  requests = 0;
  replays = 0;
  /** Repeats after a 200 that were held against it. */
  repeats = 0;
  /** Texts of which a client was first told the beginning. */
  corrected = 0;
  /** By code, and what else can become of a request. */
  readonly answers = new Map<string, number>();
  readonly broken = new Map<Promised, string[]>(promises.map((name) => [name, []]));
  readonly undecidable = new Map<Excuse, string[]>(reasons.map((name) => [name, []]));

  count(answer: string): void {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
  }

  /** Something that must not be, unless there is an excuse for just this. */
  breaks(promise: Promised, what: string, excuse?: Excuse): void {
    const covered: readonly Promised[] = excuse ? excuses[excuse] : [];
    if (excuse && covered.includes(promise)) this.undecidable.get(excuse)?.push(`${promise}: ${what}`);
    else this.broken.get(promise)?.push(what);
  }

  /** Whether the old server has overwritten the messages of a chat since then. */
  isOverwritten(chatId: string, since: number): boolean {
    return this.overwritten.some((one) => one.chatId === chatId && one.at >= since);
  }

  get isKept(): boolean {
    return [...this.broken.values()].every((found) => found.length === 0);
  }
}
