import * as cache from "../lib/chat/cache.ts";
import { stored, visible } from "../lib/chat/document.ts";
import { create, keep } from "../lib/chat/lifecycle.ts";
import { reservedKey } from "../lib/chat/schema.ts";
import { chats, newChat } from "../lib/chat/store.ts";
import { endpoint } from "../lib/endpoint.ts";
import { ApiError } from "../lib/errors.ts";
import { retellFor } from "../lib/retell/client.ts";
import { routes } from "../lib/routes.ts";

/** Starts a chat with one of the subaccount's agents. */
export const handler = endpoint(routes.create).handler(async ({ body, actor, tenant, operationId, deadline, log }) => {
  const { subaccountId } = tenant;
  const [retell, isOurs] = await Promise.all([retellFor(tenant), chats.hasAgent(tenant, body.agentId)]);
  if (!isOurs) throw new ApiError("AGENT_NOT_FOUND");

  const { chat_id: _unknownYet, ...given } = body.retell_llm_dynamic_variables ?? {};
  // Ours come last: the agent's prompts and tools trust them.
  const variables = { phone_number: "", ...given, agent_id: body.agentId, subaccount_id: subaccountId };
  const { [reservedKey]: _ours, ...metadata } = body.metadata ?? {};
  const created = await create(
    retell,
    {
      agentId: body.agentId,
      agentVersion: body.agent_version,
      metadata: { ...metadata, [reservedKey]: { operationId, subaccountId } },
      variables,
    },
    deadline,
  );
  log.fields.chatId = created.chat_id;

  const chat = newChat(
    {
      chat_id: created.chat_id,
      agent_id: created.agent_id,
      chat_status: created.chat_status,
      start_timestamp: created.start_timestamp ?? Date.now(),
      metadata,
      retell_llm_dynamic_variables: { ...variables, chat_id: created.chat_id },
      subaccountId,
      createdBy: actor.id,
      operationId,
      retellAccountId: retell.account.id,
    },
    (created.message_with_tool_calls ?? []).map((entry) => stored(entry)),
  );
  await keep(tenant, retell, chat, deadline);
  await cache.forget([cache.listEntry(subaccountId)], log);

  const { chat_id, agent_id, chat_status, start_timestamp, retell_llm_dynamic_variables } = chat;
  return {
    data: {
      chat_id,
      agent_id,
      chat_status,
      start_timestamp,
      retell_llm_dynamic_variables,
      messages: visible(chat, false),
      retellAccount: { accountName: retell.account.name, accountId: retell.account.id },
    },
  };
});
