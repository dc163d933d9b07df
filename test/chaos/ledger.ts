import type * as z from "zod";
import type { routes } from "../../lib/api/routes.ts";

/** A message that a client has tried to send until it knew the outcome. */
export interface Sent {
  /** The Idempotency-Key. */
  key: string;
  client: number;
  chatId: string;
  /** No two sends of a run have the same: see texts.ts. */
  content: string;
  /** Epoch ms of the first request, and of the answer that the client took as final. */
  from: number;
  to: number;
}

/** A message that was answered with 200, and that answer. */
export interface Accepted extends Sent {
  told: z.output<(typeof routes)["message"]["data"]>;
}

/** The promises that a run checks. None may be broken. */
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
 * The cases that docs/turns.md calls undecidable, and the violations that each can cause. Those break no promise and are
 * counted separately. Each reason is derived from what the simulator and the run know, not from what the API answers.
 */
export const excuses = {
  /** The old server overwrote the messages after this send began. */
  "overwritten by the old server": ["misattributed", "told otherwise", "doubled under one key", "out of order"],
  /** During this send, a stranger wrote a text that cannot be distinguished from it. */
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

/** What the clients of a run did and were answered, and the violations that were found. */
export class Ledger {
  readonly accepted: Accepted[] = [];
  /** Sends that were answered with CHAT_ENDED. */
  readonly refused: Sent[] = [];
  readonly unanswered: Sent[] = [];
  /** Sends that were answered as undecided. */
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
  /** Repeats after a 200 that were compared with it. */
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

  /** Records a violation, unless a reason excuses it. */
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
