import type { Collection } from "mongodb";
import type { Entry } from "../../packages/retell-simulator/src/schema.ts";
import { type Door, isPending, persist } from "./api.ts";
import type { Dice } from "./dice.ts";
import type { Ledger } from "./ledger.ts";
import { commonText, guardedWord } from "./texts.ts";

/** Asks the simulator's control endpoint. */
export type Control = (method: string, path: string, body?: object) => Promise<unknown>;

/** The other parties that use the chats of a run, past the API. */
export interface Others {
  /** Number of actions, by party. */
  troubles: Record<string, number>;
  /** A message has been sent in a chat: now one of them may do something there, meanwhile. */
  meet(dice: Dice, chatId: string, door: Door): void;
  /** Resolves when all that they have begun is done. */
  rest(): Promise<void>;
}

interface Options {
  parts: { strangers: boolean; oddities: boolean };
  control: Control;
  ledger: Ledger;
  /** Past the bad network. */
  chats: Collection;
  /** Chats that the old server still knows of. */
  oldChats: Set<string>;
}

/** Per message. */
const [speaks, overwrites, forgets] = [0.06, 0.15, 0.03];

/** A stranger who writes in the chats at Retell, the old server, which continues its chats, and Retell's retention. */
export function others({ parts, control, ledger, chats, oldChats }: Options): Others {
  const troubles = { "strangers spoke": 0, "the old server wrote": 0, "histories lost their beginning": 0 };
  const running = new Set<Promise<void>>();
  let number = 0;

  async function speak(dice: Dice, chatId: string): Promise<void> {
    number += 1;
    const content = dice.chance(0.1)
      ? commonText
      : dice.chance(0.05)
        ? `${guardedWord} ${number}`
        : `stranger ${number}`;
    const isAtOnce = dice.chance(0.15);
    const add = [
      { role: "user", content },
      { role: "agent", content: `So stranger ${number} says` },
    ];
    const said = isAtOnce
      ? control("PATCH", `/chats/${chatId}`, { add })
      : control("POST", `/chats/${chatId}`, { content });
    await said;
    troubles["strangers spoke"] += 1;
  }

  /** What the old server did with each message: the document has the last turn's entries afterwards, and no others. */
  async function overwrite(chatId: string): Promise<void> {
    number += 1;
    const reply = (await control("POST", `/chats/${chatId}`, { content: `old ${number}` })) as { messages: Entry[] };
    const { messages } = reply;
    const now = new Date();
    ledger.overwritten.push({ chatId, at: now.getTime() });
    await chats.updateOne(
      { chat_id: chatId },
      { $set: { messages, message_count: messages.length, lastMessageAt: now, updatedAt: now } },
    );
    // A send that began while it was written is overwritten as well.
    ledger.overwritten.push({ chatId, at: Date.now() });
    troubles["the old server wrote"] += 1;
  }

  /**
   * All but the last entries. Retention takes days, and the sweep looks at each chat within hours: so only entries from
   * before a reading of the API's.
   */
  async function forget(dice: Dice, chatId: string, door: Door): Promise<void> {
    const chat = (await control("GET", `/chats/${chatId}`)) as { entries: Entry[]; forgotten?: number };
    const old = chat.entries.filter(({ created_timestamp: at = 0 }) => Date.now() - at > 30_000).length;
    const forgotten = Math.min(old, chat.entries.length - 6);
    if (forgotten <= (chat.forgotten ?? 0)) return;
    const read = await persist(door, dice, "transcript", { chatId, query: "?consistency=strong" });
    if (read.kind !== "done" || read.data.messages.some(isPending)) return;
    await control("PATCH", `/chats/${chatId}`, { forgotten });
    troubles["histories lost their beginning"] += 1;
  }

  const begin = (work: Promise<void>) => {
    const done = work.catch(() => {}).finally(() => running.delete(done)); // the chat may be over: nothing was done
    running.add(done);
  };
  return {
    troubles,
    meet(dice, chatId, door) {
      const isOld = oldChats.has(chatId);
      if (parts.strangers && dice.chance(speaks)) begin(speak(dice, chatId));
      if (isOld && dice.chance(overwrites)) begin(overwrite(chatId));
      if (parts.oddities && !isOld && dice.chance(forgets)) begin(forget(dice, chatId, door));
    },
    async rest() {
      await Promise.all(running);
    },
  };
}
