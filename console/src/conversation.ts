import type { Answered, Message, SentMessage, Transcript, TranscriptMeta } from "@scalai/chat";

type Reading = Answered<Transcript, TranscriptMeta>;

/** What a page shows of one chat. */
export interface Conversation {
  /** The last reading. */
  chat?: Reading;
  /** Of all readings, in order. */
  messages: ShownMessage[];
}

export interface ShownMessage extends Message {
  /** It has failed, or was pending for longer than its sender waited. Without `delivery` it has arrived late. */
  isOverdue?: boolean;
}

/** An entry of a reading with `after_revision`, for a message that is not shown any more. */
type Removed = { removed?: true };

/** The API answers a send within this time, with an unknown outcome if need be. */
const ANSWER_MS = 27_000;

/**
 * Merges a reading of the transcript.
 *
 * @param isPart Whether it has only what is new or has changed since the last one, or what follows where that was cut.
 * @param now    The server's time, epoch ms.
 */
export function withReading(before: Conversation, reading: Reading, isPart: boolean, now: number): Conversation {
  const known = new Map(before.messages.map((message) => [message.seq, message]));
  const read = reading.messages.map((message) => overdueOf(message, known.get(message.seq), now));
  // Messages of an imported chat may have no seq yet: then nothing can be merged.
  if (!isPart || !read.every(({ seq }) => seq !== undefined)) return { chat: reading, messages: read };
  for (const message of read) {
    if ((message as Removed).removed) known.delete(message.seq);
    else known.set(message.seq, message);
  }
  return { chat: reading, messages: inOrder(known.values()) };
}

/** Adds what the answer to a send tells, ahead of the next reading. */
export function withSent(
  { chat, messages }: Conversation,
  content: string,
  answer: Answered<SentMessage>,
): Conversation {
  const known = new Map(messages.map((message) => [message.seq, message]));
  const { delivery: _, ...before } = known.get(answer.user_message.seq) ?? { role: "user", content };
  known.set(answer.user_message.seq, { ...before, ...answer.user_message });
  for (const message of answer.messages) known.set(message.seq, message);
  return { messages: inOrder(known.values()), ...(chat && { chat: { ...chat, chat_status: answer.chat_status } }) };
}

function overdueOf(message: Message, before: ShownMessage | undefined, now: number): ShownMessage {
  const { delivery, created_timestamp = now } = message;
  const isOverdue = delivery === "failed" || (delivery === "pending" && now - created_timestamp > ANSWER_MS);
  return isOverdue || before?.isOverdue ? { ...message, isOverdue: true } : message;
}

const inOrder = (messages: Iterable<ShownMessage>) => [...messages].sort((a, b) => (a.seq ?? 0) - (b.seq ?? 0));
