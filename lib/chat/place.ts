import type { TenantContext } from "../access/tenant.ts";
import { ApiError } from "../platform/errors.ts";
import type { RetellClient } from "../retell/client.ts";
import type { ReadChat } from "./model.ts";
import { chats } from "./store.ts";

/** One chat of a tenant, and the Retell that knows it. */
export interface ChatContext {
  tenant: TenantContext;
  chatId: string;
  retell: RetellClient;
}

/** @throws CHAT_NOT_FOUND, also for another tenant's chat. */
export async function getOrThrow(tenant: TenantContext, chatId: string): Promise<ReadChat> {
  const chat = await chats.get(tenant, chatId);
  if (!chat) throw new ApiError("CHAT_NOT_FOUND");
  if (typeof chat.agent_id === "string") tenant.log.fields.agentId = chat.agent_id;
  return chat;
}
