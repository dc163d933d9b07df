import { ApiError } from "../errors.ts";
import type { RetellClient } from "../retell/client.ts";
import type { Tenant } from "../tenant.ts";
import type { ReadChat } from "./document.ts";
import { chats } from "./store.ts";

/** One chat of a tenant, and the Retell that knows it. */
export interface Place {
  tenant: Tenant;
  chatId: string;
  retell: RetellClient;
}

/** @throws CHAT_NOT_FOUND, also for another tenant's chat. */
export async function found(tenant: Tenant, chatId: string): Promise<ReadChat> {
  const chat = await chats.get(tenant, chatId);
  if (!chat) throw new ApiError("CHAT_NOT_FOUND");
  if (typeof chat.agent_id === "string") tenant.log.fields.agentId = chat.agent_id;
  return chat;
}
