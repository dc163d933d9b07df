import { retellFor } from "../retell/client.ts";
import { readEvent } from "../retell/webhook.ts";
import type { Deadline } from "../route.ts";
import type { Tenant } from "../tenant.ts";
import { leaseMs, settle } from "./settle.ts";
import { chats } from "./store.ts";

/** What an event was, and what became of it. */
export interface News {
  event: string;
  outcome: "taken in" | "unknown chat" | "nothing to do";
}

/**
 * Takes in what Retell tells of a chat. What is stored only grows, so that repeats and disorder change nothing: an old
 * chat_started reopens no chat, a late chat_ended takes no analysis away.
 *
 * @param body A webhook's body, its signature checked.
 * @returns    For the log, where unknown chats are counted.
 */
export async function learn(tenant: Tenant, body: string, deadline: Deadline): Promise<News> {
  const { event, chat: told } = readEvent(body, tenant.log);
  if (!told || (event !== "chat_ended" && event !== "chat_analyzed"))
    return { event: event.slice(0, 40), outcome: "nothing to do" };

  // By path and id together: another subaccount's chat, or one of somebody else in the same workspace, is none of ours.
  const chatId = told.chat_id;
  tenant.log.fields.chatId = chatId.slice(0, 64);
  if (!(await chats.known(tenant, [chatId])).has(chatId)) return { event, outcome: "unknown chat" };

  // An event of the end is the end, whatever the status beside it says.
  const given = { ...told, ...(told.chat_status === "ongoing" ? { chat_status: "ended" as const } : {}) };
  const place = { tenant, chatId, retell: await retellFor(tenant) };
  const { open } = await settle(place, { given, signal: deadline.call() });
  if (open) await chats.postpone(tenant, chatId, leaseMs());
  return { event, outcome: "taken in" };
}
