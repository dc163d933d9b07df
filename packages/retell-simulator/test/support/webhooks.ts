import { afterAll, beforeEach } from "vitest";
import { aReceiver } from "./receiver.ts";
import { anEmptySimulator } from "./simulator.ts";

const MINUTE_MS = 60_000;

/** A simulator, and a receiver of each test's own, for the tests of webhooks. Registers the hooks. */
export const { retell, chats } = await anEmptySimulator();
export let receiver: Awaited<ReturnType<typeof aReceiver>>;

/** What is stopped after all tests. */
export const stops: (() => Promise<void>)[] = [];

beforeEach(async () => {
  receiver = await anotherReceiver();
});
afterAll(async () => {
  for (const stop of stops) await stop();
});

export async function anotherReceiver() {
  const started = await aReceiver();
  stops.push(started.stop);
  return started;
}

/**
 * Sends a key's webhooks to the receiver. Retries come at once, unless a test wants to move the clock in between, and no
 * machine is too slow to answer.
 */
export const webhook = (settings = {}, key = "key_one") =>
  retell.command("PUT", `/webhooks/${key}`, {
    url: receiver.url,
    retryDelayMs: 0,
    timeoutMs: 10 * MINUTE_MS,
    ...settings,
  });

export const aChat = async (agent_id = "agent_shop", more = {}) => (await chats.create({ agent_id, ...more })).chat_id;
export const say = (chat_id: string, content: string) => chats.createChatCompletion({ chat_id, content });
export const { deliveries } = retell;
