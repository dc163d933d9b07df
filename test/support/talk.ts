import { randomBytes } from "node:crypto";
import type { StoredMessage } from "../../lib/chat/model.ts";
import { newMessageId } from "../../lib/chat/new-message.ts";

/** A user's messages to the lamp shop's agent, whose answers then are those of a real conversation. */
export const shopTalk = ["hello", "Where is my order 1042?", "refund", "ping", "billing", "help", "Is it on its way?"];

/** Repeats a conversation until it has `count` messages, each with an id and a time of its own, and stored by us. */
export function longTalk(said: Pick<StoredMessage, "role" | "content">[], count: number): StoredMessage[] {
  return Array.from({ length: count }, (_, i) => {
    const { role, content } = said[i % said.length] as (typeof said)[number];
    const message_id = role === "user" ? newMessageId() : `message_${randomBytes(12).toString("hex")}`;
    return { message_id, role, content, created_timestamp: 1_795_475_267_333 + i * 4_321, internal: {} };
  });
}
