import { control, type World } from "./world.ts";

/** A chat that a create of ours has left at Retell a while ago; its id. */
export async function anOrphan(world: World, ageMs = 15 * 60_000): Promise<string> {
  const { chat_id } = await control("retell", "POST", "/chats", {
    key: world.apiKey,
    agent_id: world.agentId,
    start_timestamp: Date.now() - ageMs,
    metadata: { _scalai_chat: { subaccountId: world.subaccountId, stage: process.env.STAGE } },
  });
  return chat_id;
}
