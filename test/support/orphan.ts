import { control, type World } from "./world.ts";

/** Creates a chat at Retell as a create of the API left it some time ago. Returns its id. */
export async function anOrphan(world: World, ageMs = 15 * 60_000): Promise<string> {
  const { chat_id } = await control("retell", "POST", "/chats", {
    key: world.apiKey,
    agent_id: world.agentId,
    start_timestamp: Date.now() - ageMs,
    metadata: { _scalai_chat: { subaccountId: world.subaccountId, stage: process.env.STAGE } },
  });
  return chat_id;
}
