import { at } from "./chats.ts";
import { aWorld, call, control } from "./world.ts";

/** A chat whose agent answers "more" with these messages; `{{big}}` in them is a text of one character, repeated. */
export async function aTenantThatAnswers(messages: object[], character = "z", length = 200_000) {
  const agentId = `agent_large_${crypto.randomUUID()}`;
  await control("retell", "PUT", `/agents/${agentId}`, { script: [{ says: "more", messages }] });
  const tenant = await aWorld({ agentId });
  const { token, subaccountId } = at(tenant, "");
  const body = { agentId, retell_llm_dynamic_variables: { big: character.repeat(length) } };
  const created = await call("create", { token, subaccountId, body });
  return { tenant, chatId: created.body.data.chat_id as string };
}
