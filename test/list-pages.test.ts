import "./support/unlimited.ts";
import fc from "fast-check";
import { expect, it } from "vitest";
import { aWorld, call } from "./support/world.ts";

const world = await aWorld();
const chats = world.db.collection("chats");

type Key = [start_timestamp: number, chat_id: string];
const isOlder = ([time, id]: Key, [otherTime, otherId]: Key) =>
  time < otherTime || (time === otherTime && id < otherId);

it("cursors visit every chat once, newest first, while others are being added", async () => {
  // Few times and short ids, in which capitals, digits and signs sort as bytes do: ties everywhere.
  const key = fc.tuple(fc.integer({ min: -2, max: 5 }), fc.stringMatching(/^[A-Za-z0-9_-]{1,3}$/));
  const keys = (maxLength: number) => fc.uniqueArray(key, { maxLength, selector: ([, id]) => id });
  const add = async (added: Key[]) => {
    if (added.length === 0) return;
    await chats.insertMany(
      added.map(([start_timestamp, chat_id]) => ({
        chat_id,
        start_timestamp,
        subaccountId: world.subaccountId,
        agent_id: world.agentId,
        chat_status: "ongoing",
        end_timestamp: null,
        message_count: 0,
        messages: [],
        internal: { heard: 0 },
      })),
    );
  };

  await fc.assert(
    fc.asyncProperty(
      keys(30),
      fc.array(keys(4), { maxLength: 6 }),
      fc.integer({ min: 1, max: 9 }),
      async (first, later, limit) => {
        await chats.deleteMany({});
        await add(first);
        const expected = new Map(first.map((chat) => [chat[1], chat]));
        const taken = new Set(expected.keys());
        const seen: Key[] = [];
        const additions = [...later];
        let cursor: string | undefined;
        do {
          const query = { limit: String(limit), ...(cursor ? { cursor } : {}) };
          const { body } = await call("list", { token: world.viewer.token, subaccountId: world.subaccountId, query });
          seen.push(
            ...body.data.map(
              (chat: { start_timestamp: number; chat_id: string }): Key => [chat.start_timestamp, chat.chat_id],
            ),
          );
          expect(body.data.length).toBeLessThanOrEqual(limit);
          cursor = body.meta.nextCursor;

          // What comes in ahead of us is yet to be seen; what is newer than where we are is for the next time.
          const added = (additions.shift() ?? []).filter(([, id]) => !taken.has(id));
          for (const [, id] of added) taken.add(id);
          await add(added);
          const at = seen.at(-1);
          if (cursor && at) for (const chat of added) if (isOlder(chat, at)) expected.set(chat[1], chat);
        } while (cursor);

        expect(seen).toEqual([...expected.values()].sort((a, b) => (isOlder(a, b) ? 1 : -1)));
      },
    ),
    { numRuns: 40 },
  );
});
