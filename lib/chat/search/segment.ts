import type { TenantContext } from "../../access/tenant.ts";
import { isAgentOrUser, type StoredChat, type StoredMessage, seqAt } from "../model.ts";
import type { IndexedChat, NumberedMessage } from "./search-index.ts";
import { hash32, wordsOf } from "./words.ts";

/** A document of `chatwords`: the words of 50 messages of a chat. */
export interface Segment {
  /** `<subaccountId>/<chat_id>/<n>` */
  _id: string;
  subaccountId: string;
  chat_id: string;
  /** Which 50 messages. The first message is in segment 0; those put in front later are in -1 and below. */
  segment: number;
  /** The order of results: see `orderOf`. */
  order: number;
  words: string[];
}

/** Messages with the seq that they have from an index of the chat's list on. */
export const numbered = (
  { internal }: Pick<StoredChat, "internal">,
  messages: StoredMessage[],
  index = 0,
): NumberedMessage[] => messages.map((message, at) => ({ ...message, seq: seqAt(index + at, internal) }));

export const segmentMessages = 50;

const segmentOf = (seq: number) => Math.floor((seq - 1) / segmentMessages);

/** Sorts chats by their start. Chats of one millisecond are told apart, so that few share a place. */
const orderOf = ({ chat_id, start_timestamp: at }: IndexedChat) =>
  (Number.isSafeInteger(at * 1_000) && at > 0 ? at * 1_000 : 0) + (hash32(chat_id) % 1_000);

/** The words of what agent and user said. What failed and what tools exchanged is left out. */
export function segmentsOf(
  { subaccountId }: Pick<TenantContext, "subaccountId">,
  chat: IndexedChat,
  messages: NumberedMessage[],
): Segment[] {
  const said = messages.filter((message) => isAgentOrUser(message) && !message.internal?.failed);
  const bySegment = Map.groupBy(said, ({ seq }) => segmentOf(seq));
  return Array.from(bySegment, ([segment, some]) => {
    const words = new Set<string>();
    for (const { content } of some) for (const word of wordsOf(content ?? "")) words.add(word);
    const { chat_id } = chat;
    const _id = `${subaccountId}/${chat_id}/${segment}`;
    return { _id, subaccountId, chat_id, segment, order: orderOf(chat), words: [...words] };
  }).filter(({ words }) => words.length > 0);
}

/** A chat's segments, by their ids: `/` is in no chat's id, and 0 follows it in the alphabet. */
export function idsOf({ subaccountId }: TenantContext, chatId: string) {
  return { $gte: `${subaccountId}/${chatId}/`, $lt: `${subaccountId}/${chatId}0` };
}
