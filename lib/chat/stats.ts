import { type ChatStats, countOf, isAgentOrUser, isUser, type StoredChat } from "./model.ts";
import { Sentiment } from "./schema.ts";

/** A longer chat has a wrong start or end: a year. */
const maxDurationMs = 365 * 86_400_000;
/** A longer wait is no answer to what the user said: Retell works on a message for minutes at most. */
const maxReplyMs = 3_600_000;

/**
 * What analytics and filters know of a chat, from its document alone: the same document always has the same stats. Others
 * write into the collection, so a field of an unexpected shape counts as unknown.
 */
export function statsOf(chat: StoredChat): ChatStats {
  const { user_sentiment, chat_successful } = Object(chat.chat_analysis);
  const sentiment = typeof user_sentiment === "string" ? user_sentiment.trim().toLowerCase() : "unknown";
  return {
    messages: countOf(chat.messages),
    duration_ms: within(difference(chat.start_timestamp, chat.end_timestamp), maxDurationMs) ?? null,
    cost: within(Object(chat.chat_cost).combined_cost, Number.MAX_SAFE_INTEGER) ?? null,
    ...replyTimes(chat),
    sentiment: Sentiment.safeParse(sentiment).data ?? "unknown",
    successful: typeof chat_successful === "boolean" ? (chat_successful ? "yes" : "no") : "unknown",
  };
}

/** What an update writes of a chat's stats, given the chat as it will be; nothing while it is ongoing. */
export const statsUpdate = (after: StoredChat): { "internal.stats"?: ChatStats } =>
  after.chat_status === "ongoing" ? {} : { "internal.stats": statsOf(after) };

/**
 * How long the agent took from a user's message to its next message. Of several messages of users in a row, the last one
 * counts. Not timed: messages that failed or whose outcome is open, those without a time, and answers that are older
 * than the message (the two have different clocks) or more than an hour younger.
 */
function replyTimes({ messages, internal }: StoredChat): Pick<ChatStats, "replies" | "reply_ms"> {
  const isDelivered = (message: StoredChat["messages"][number]) =>
    !message.internal?.failed && !(internal?.turn && internal.turn.id === message.internal?.turn);
  const said = messages.filter((message) => isAgentOrUser(message) && (!isUser(message) || isDelivered(message)));
  const times = said.flatMap((message, index) => {
    const before = said[index - 1];
    if (isUser(message) || !before || !isUser(before)) return [];
    return within(difference(before.created_timestamp, message.created_timestamp), maxReplyMs) ?? [];
  });
  return { replies: times.length, reply_ms: times.reduce((sum, time) => sum + time, 0) };
}

const difference = (from: unknown, to: unknown) =>
  typeof from === "number" && typeof to === "number" ? to - from : undefined;

/** The number if it is one from 0 to `max`. */
const within = (value: unknown, max: number) =>
  typeof value === "number" && value >= 0 && value <= max ? value : undefined;
