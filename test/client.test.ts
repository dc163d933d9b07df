import { expect, it } from "vitest";
import { createClient } from "../packages/client/src/index.ts";
import { aGateway } from "./support/gateway.ts";
import { aWorld } from "./support/world.ts";

it("creates a chat, sends, reads, lists and ends it", async () => {
  const [world, gateway] = await Promise.all([aWorld(), aGateway()]);
  const { subaccountId, owner, agentId } = world;
  const client = createClient({ baseUrl: gateway.url, subaccountId, token: owner.token });

  const created = await client.chats.create({ agentId });
  const chat = client.chat(created.chat_id);
  const [first, second] = await Promise.all([chat.send("ping 1"), chat.send("ping 2")]);
  expect(first.user_message.seq).toBeLessThan(second.user_message.seq);
  expect(await chat.pending()).toEqual([]);

  const { messages, meta } = await chat.transcript({ after_seq: 1 });
  const said = messages.map(({ role, content }) => `${role}: ${content}`);
  expect(said).toEqual([
    "user: ping 1",
    expect.stringMatching(/^agent/),
    "user: ping 2",
    expect.stringMatching(/^agent/),
  ]);
  expect(meta.operationId).toMatch(/^[0-9a-f-]{36}$/);
  const paged = await Array.fromAsync(chat.messages({ after: 1, limit: 1 }));
  expect(paged).toEqual(messages);

  expect(await Array.fromAsync(client.chats.list({ limit: 1 }), ({ chat_id }) => chat_id)).toEqual([chat.id]);
  expect((await chat.end()).chat_status).toBe("ended");
  await expect(chat.send("too late")).rejects.toMatchObject({ code: "CHAT_ENDED", outcome: "failed", status: 409 });
});
