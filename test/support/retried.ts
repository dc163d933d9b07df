import { expect, vi } from "vitest";
import { handler as sweep } from "../../functions/sweep.ts";
import { call, control, type Name, type Request, type Response, type World } from "./world.ts";

// biome-ignore lint/suspicious/noExplicitAny: documents and entries of which tests read fields
type Any = any;

export const at = (world: World, chatId?: string) => ({
  token: world.owner.token,
  subaccountId: world.subaccountId,
  ...(chatId === undefined ? {} : { chatId }),
});
export const stored = (world: World): Promise<Any[]> =>
  world.db
    .collection("chats")
    .find({ "internal.tombstone": { $exists: false } })
    .sort({ createdAt: 1 })
    .toArray();
export const atRetell = async (world: World): Promise<Any[]> =>
  (await control("retell", "GET", `/chats?key=${world.apiKey}`)).chats;

/** Moves the start of a turn or an attempt back by this time. */
async function age(world: World, ms: number): Promise<void> {
  for (const [collection, field] of [
    ["chats", "internal.turn.at"],
    ["chatrequests", "at"],
  ] as const) {
    const update = [{ $set: { [field]: { $subtract: [`$${field}`, ms] } } }];
    await world.db.collection(collection).updateMany({ [field]: { $exists: true } }, update);
  }
}

/** Repeats a request as a client without an answer does: at once, after LEASE and after SETTLE. */
export async function retried(world: World, name: Name, request: Request): Promise<Response> {
  const told: unknown[] = [];
  const waits = [41_000, 331_000];
  while (told.length < 6) {
    const answer = await call(name, request);
    if (answer.status === 200) return answer;
    told.push(answer.body.code);
    if (answer.body.code === "CONNECTION_FAILED") continue; // this machine is slow
    expect(answer.body.code).toMatch(/^(CHAT_BUSY|REQUEST_IN_PROGRESS)$/);
    expect(Number(answer.headers["retry-after"])).toBeGreaterThan(0);
    await age(world, waits.shift() ?? 0);
  }
  throw new Error(`never answered: ${told}`);
}

/**
 * Runs the sweep twenty minutes and a SETTLE later, when claimed chats are due again and orphans are old enough; and
 * again after an hour, when silent chats are read.
 */
export async function swept(world: World): Promise<void> {
  await age(world, 331_000);
  await sweptIn(20);
  for (const { internal } of await stored(world)) expect(internal.turn).toBeUndefined();
  await sweptIn(70);
}

async function sweptIn(minutes: number): Promise<void> {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + minutes * 60_000 });
  try {
    expect(await sweep()).toMatchObject({ failed: 0 });
  } finally {
    vi.useRealTimers();
  }
}

const line = ({ role, content }: Any) => `${role}: ${content ?? ""}`;

/** Holds for every chat at the end: our history equals Retell's, in its order, and no turn is open. */
export async function agrees(world: World): Promise<void> {
  const ours = await stored(world);
  const theirs = await atRetell(world);
  expect(ours.length).toBeLessThanOrEqual(theirs.length);
  for (const held of theirs) {
    const chat = ours.find(({ chat_id }) => chat_id === held.chat_id);
    if (!chat) {
      expect(held.status, "a chat at Retell that nobody has").toBe("ended");
      continue;
    }
    const delivered = chat.messages.filter((message: Any) => !message.internal?.failed);
    expect(delivered.map(line)).toEqual(held.entries.map(line));
    expect(chat.messages.map((message: Any) => message.message_id)).toEqual([
      ...new Set(chat.messages.map((message: Any) => message.message_id)),
    ]);
    expect(chat.message_count).toBe(delivered.filter(({ role }: Any) => role === "agent" || role === "user").length);
    expect(chat.internal.turn).toBeUndefined();
    expect(chat.internal.retellUserCount).toBe(held.entries.filter(({ role }: Any) => role === "user").length);
    expect(chat.chat_status).toBe(held.status);
    expect(chat.end_timestamp).toBe(held.end_timestamp ?? null);
    if (chat.chat_status === "ongoing" || !chat.chat_analysis) expect(chat.internal.nextSweepAt).toBeInstanceOf(Date);
  }
}
