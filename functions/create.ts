import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/create.ts";
import { create } from "../lib/chat/create.ts";
import { openingMessages } from "../lib/chat/view.ts";
import { reservedKey } from "../lib/retell/client.ts";

/** Starts a chat with one of the subaccount's agents. A repeat with the same key does not start another. */
export const handler = endpoint(route).handler(
  async ({ body, actor, tenant, operationId, idempotency, deadline, begun }) => {
    const { chat_id: _unknownYet, ...given } = body.retell_llm_dynamic_variables;
    const { [reservedKey]: _ours, ...metadata } = body.metadata;
    const input = {
      agentId: body.agentId,
      agentVersion: body.agent_version,
      metadata,
      // Our variables come last, so that clients cannot set them: the agent's prompts and tools rely on them.
      variables: { phone_number: "", ...given, agent_id: body.agentId, subaccount_id: tenant.subaccountId },
      createdBy: actor.id,
      operationId,
      endUserId: body.end_user_id,
    };
    const { chat, account, isReplay } = await create({ tenant, deadline, begun }, input, idempotency);

    const { chat_id, agent_id, start_timestamp, retell_llm_dynamic_variables } = chat;
    return {
      data: {
        chat_id,
        agent_id,
        chat_status: isReplay ? "ongoing" : chat.chat_status,
        start_timestamp,
        retell_llm_dynamic_variables,
        messages: openingMessages(chat),
        retellAccount: { accountName: account.name, accountId: account.id },
      },
      isReplay,
    };
  },
);
