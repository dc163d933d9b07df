/** A message that a client was told is stored, and what it was told of it. */
export interface Accepted {
  /** The Idempotency-Key. */
  key: string;
  client: number;
  chatId: string;
  content: string;
  messageId: string;
  seq: number;
  /** The agent's, in order. */
  replies: { message_id: string; seq: number; content?: string | undefined }[];
}

/** A message that a client gave up on: told that the chat is over, or never told anything. */
export interface GivenUp {
  key: string;
  chatId: string;
  content: string;
}

/** Every other message has this text: only its key and its place tell it from others. */
export const commonText = "ok";

/** The promises that a run puts to the test; none may be broken. */
export const promises = [
  "lost",
  "doubled",
  "doubled under one key",
  "out of order",
  "stuck",
  "undocumented answers",
  "told otherwise",
  "refused, yet delivered",
  "orphans",
  "unhandled rejections",
  "instances that died by themselves",
] as const;
export type Promised = (typeof promises)[number];

/** What the clients of a run have done and were told, and what was found to be wrong. */
export class Ledger {
  readonly accepted: Accepted[] = [];
  readonly refused: GivenUp[] = [];
  readonly unanswered: GivenUp[] = [];
  /** By the key of its create. */
  readonly created = new Map<string, string>();
  /** Requests to send a message; a message takes as many as it needs. */
  requests = 0;
  replays = 0;
  /** By code, and what else can become of a request. */
  readonly answers = new Map<string, number>();
  readonly broken = new Map<Promised, string[]>(promises.map((name) => [name, []]));

  count(answer: string): void {
    this.answers.set(answer, (this.answers.get(answer) ?? 0) + 1);
  }

  /** Something that must not be. */
  breaks(promise: Promised, what: string): void {
    this.broken.get(promise)?.push(what);
  }

  get isKept(): boolean {
    return [...this.broken.values()].every((found) => found.length === 0);
  }
}
