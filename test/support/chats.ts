import { sign } from "retell-sdk/lib/webhook_auth";
import { expect } from "vitest";
import { toEvent } from "../../dev/event.ts";
import { aLog } from "./log.ts";
import { aContext, call, control, type World } from "./world.ts";

// biome-ignore lint/suspicious/noExplicitAny: a chat at Retell, of which tests read fields
type Any = any;

/** A request of the subaccount's owner for a chat. */
export const at = ({ owner, subaccountId }: World, chatId: string) => ({ token: owner.token, subaccountId, chatId });

export const send = (world: World, chatId: string, content = "ping") =>
  call("message", { ...at(world, chatId), body: { content } });
export const read = (world: World, chatId: string, query: Record<string, string> = {}) =>
  call("transcript", { ...at(world, chatId), query });
export const end = (world: World, chatId: string) => call("end", at(world, chatId));

/** The chat's document. */
export const stored = (world: World, chatId: string) => world.db.collection("chats").findOne({ chat_id: chatId });

/** The subaccount's chats at Retell. */
export const atRetell = async ({ apiKey }: World): Promise<Any[]> =>
  (await control("retell", "GET", `/chats?key=${apiKey}`)).chats;

/** The user messages that Retell has in a chat. */
export const heard = async (chatId: string): Promise<string[]> =>
  (await control("retell", "GET", `/chats/${chatId}`)).entries
    .filter(({ role }: Any) => role === "user")
    .map(({ content }: Any) => content);

/** Delivers a webhook, signed as Retell signs it. */
export async function tell(world: World, event: string, chat: object, remainingMs?: number): Promise<void> {
  const body = JSON.stringify({ event, chat });
  const target = `/api/webhooks/retell/${world.subaccountId}`;
  const headers = { "content-type": "application/json", "x-retell-signature": await sign(body, world.apiKey) };
  const { handler } = await import("../../functions/webhook.ts");
  const { statusCode } = await handler(toEvent({ method: "POST", target, headers, body }), aContext(remainingMs));
  expect(statusCode).toBe(200);
}

/** One run of the sweep, at a time when the chat is due. */
export async function sweepLater(world: World, chatId: string): Promise<void> {
  const { sweep } = await import("../../lib/chat/sweep/sweep.ts");
  await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { "internal.nextSweepAt": new Date(1) } });
  await sweep({ until: Date.now() + 60_000, perSubaccount: 10 }, aLog("sweep"));
}
