import { type Door, type Known, persist } from "./api.ts";
import { Dice } from "./dice.ts";
import { type Accepted, commonText, type Ledger } from "./ledger.ts";

/** What the clients of a run do together. */
export interface Crowd {
  door: Door;
  seed: number;
  agentIds: readonly [string, ...string[]];
  clients: number;
  chats: number;
  /** Messages, over all clients. */
  sends: number;
  onSend?: (done: number) => void;
}

/** A place in the crowd's list of chats. Whoever finds its chat over puts another there. */
interface Slot {
  chat: Promise<string> | undefined;
  chatNumber: number;
}

/** Rates of what clients do beside sending, per message. */
const [reads, repeats, ends, farewells] = [0.04, 0.03, 0.003, 0.004];

/** Has the clients send all messages, half of the clients to one chat, the others to all the others. */
export async function crowd(run: Crowd): Promise<string[]> {
  const slots = Array.from({ length: run.chats }, (): Slot => ({ chat: undefined, chatNumber: 0 }));
  const left = { sends: run.sends };
  await Promise.all(Array.from({ length: run.clients }, (_, number) => client(run, number, slots, left)));
  const open = await Promise.all(slots.map(({ chat }) => chat));
  return open.filter((chat) => chat !== undefined);
}

async function client(run: Crowd, number: number, slots: Slot[], left: { sends: number }): Promise<void> {
  const dice = new Dice(run.seed, "client", number);
  const isHot = number < run.clients / 2;
  const mine: Accepted[] = [];
  for (let sent = 0; left.sends > 0; sent++) {
    left.sends -= 1;
    const place = isHot || slots.length === 1 ? 0 : dice.between(1, slots.length - 1);
    const slot = slots[place] as Slot;
    slot.chat ??= aChat(run, `${run.seed}-chat-${place}-${slot.chatNumber}`);
    const here = slot.chat;
    const chatId = await here;
    const key = `${run.seed}-${number}-${sent}`;
    const content = textOf(dice, key, isHot);
    const known = await persist(run.door, dice, "message", { chatId, key, body: { content } });
    const accepted = note(run.door.ledger, { key, client: number, chatId, content }, known);
    run.onSend?.(run.sends - left.sends);
    if (accepted) mine.push(accepted);
    if (accepted && dice.chance(repeats)) await repeat(run, dice, accepted);
    if (dice.chance(reads)) await read(run, dice, chatId, mine);
    if (!isHot && dice.chance(ends)) await endChat(run, dice, chatId);
    if (known.kind === "ended" && slot.chat === here) {
      slot.chat = undefined;
      slot.chatNumber += 1;
    }
  }
}

function textOf(dice: Dice, key: string, isHot: boolean): string {
  if (dice.chance(0.5)) return commonText;
  if (!isHot && dice.chance(farewells * 2)) return `goodbye ${key}`;
  const kinds = ["my", "my", "my", "my", "my", "order 1042 for", "refund for", "think of", "silence for"] as const;
  return `${dice.of(kinds)} ${key}`;
}

async function aChat({ door, seed, agentIds }: Crowd, key: string): Promise<string> {
  const dice = new Dice(seed, key);
  const body = { agentId: dice.of(agentIds), metadata: { run: seed } };
  for (let attempt = 0; ; attempt++) {
    const known = await persist(door, dice, "create", { key, body });
    if (known.kind === "done") {
      door.ledger.created.set(key, known.data.chat_id);
      return known.data.chat_id;
    }
    door.ledger.breaks("stuck", `create ${key}: ${known.kind === "unanswered" ? known.last : known.kind}`);
    if (attempt === 3) throw new Error(`No chat could be created under ${key}`);
  }
}

type Sent = Pick<Accepted, "key" | "client" | "chatId" | "content">;

function note(ledger: Ledger, sent: Sent, known: Known<"message">): Accepted | undefined {
  if (known.kind === "ended") ledger.refused.push(sent);
  if (known.kind === "unanswered") {
    ledger.unanswered.push(sent);
    ledger.breaks("stuck", `${sent.key} in ${sent.chatId}: at last ${known.last}`);
  }
  if (known.kind !== "done") return undefined;
  if (known.isReplay) ledger.replays += 1;
  const { user_message, messages } = known.data;
  const replies = messages.map(({ message_id = "", seq, content }) => ({ message_id, seq, content }));
  const accepted = { ...sent, messageId: user_message.message_id, seq: user_message.seq, replies };
  ledger.accepted.push(accepted);
  return accepted;
}

/** A repeat with the same key must tell the same. */
async function repeat({ door }: Crowd, dice: Dice, told: Accepted): Promise<void> {
  const { key, chatId, content } = told;
  const known = await persist(door, dice, "message", { chatId, key, body: { content } });
  if (known.kind !== "done") {
    door.ledger.breaks("told otherwise", `${key} in ${chatId}: a repeat after its 200 is ${known.kind}`);
    return;
  }
  const ids = [known.data.user_message, ...known.data.messages].map(({ message_id, seq }) => `${seq} ${message_id}`);
  const before = [
    `${told.seq} ${told.messageId}`,
    ...told.replies.map(({ message_id, seq }) => `${seq} ${message_id}`),
  ];
  if (!known.isReplay || ids.join() !== before.join()) {
    door.ledger.breaks("told otherwise", `${key} in ${chatId}: first ${before.join()}, repeated ${ids.join()}`);
  }
}

/** What a client was told is in what it reads afterwards, where it was told. */
async function read({ door }: Crowd, dice: Dice, chatId: string, mine: Accepted[]): Promise<void> {
  const told = mine.filter((accepted) => accepted.chatId === chatId).slice(-5);
  const first = told[0];
  if (!first) return;
  const known = await persist(door, dice, "transcript", { chatId, query: `?after_seq=${first.seq - 1}&limit=500` });
  if (known.kind !== "done") return;
  const shown = new Map(known.data.messages.map((message) => [message.seq, message]));
  const end = known.meta.hasMore ? Number(known.meta.nextSeq) : Number.POSITIVE_INFINITY;
  for (const { key, seq, messageId } of told.filter((one) => one.seq <= end)) {
    const message = shown.get(seq);
    if (!message || message.message_id !== messageId || message.delivery) {
      door.ledger.breaks(
        "told otherwise",
        `${key} in ${chatId}: accepted as ${seq} ${messageId}, read as ${JSON.stringify(message)}`,
      );
    }
  }
}

/** Ends a chat, whoever is talking in it. */
export async function endChat({ door }: Pick<Crowd, "door">, dice: Dice, chatId: string): Promise<void> {
  const known = await persist(door, dice, "end", { chatId });
  if (known.kind !== "done") door.ledger.breaks("stuck", `the end of ${chatId}`);
}
