import { type Data, type Door, persist } from "./api.ts";
import { Dice } from "./dice.ts";
import type { Accepted, Ledger, Sent } from "./ledger.ts";
import type { Others } from "./others.ts";
import { textOf } from "./texts.ts";

/** The task of all clients of a run. */
export interface Crowd {
  door: Door;
  seed: number;
  /** Tells the crowds of one run apart. */
  name: string;
  agentIds: readonly [string, ...string[]];
  clients: number;
  chats: number;
  /** Messages, over all clients. */
  sends: number;
  /** Chats that are there already. */
  oldChats: string[];
  others: Others;
  onSend?: (done: number) => void;
}

/** A slot in the list of chats. A client whose chat has ended puts another chat into it. */
interface Slot {
  chat: Promise<string> | undefined;
  chatNumber: number;
}

/** Rates, per message, of what clients do besides sending. */
const [reads, repeats, ends, lateRepeats, createRepeats] = [0.04, 0.08, 0.003, 0.04, 0.3];

/** Lets the clients send all messages: half of the clients to one chat, the others to the other chats. */
export async function crowd(run: Crowd): Promise<string[]> {
  const slots = Array.from(
    { length: run.chats },
    (_, place): Slot => ({ chat: asPromise(run.oldChats[place - 1]), chatNumber: 0 }),
  );
  const left = { sends: run.sends };
  await Promise.all(Array.from({ length: run.clients }, (_, number) => client(run, number, slots, left)));
  const open = await Promise.all(slots.map(({ chat }) => chat));
  return open.filter((chat) => chat !== undefined);
}

const asPromise = (chatId: string | undefined) => (chatId === undefined ? undefined : Promise.resolve(chatId));

async function client(run: Crowd, number: number, slots: Slot[], left: { sends: number }): Promise<void> {
  const { door, seed, name } = run;
  const isHot = number < run.clients / 2;
  const mine: Accepted[] = [];
  for (let sent = 0; left.sends > 0; sent++) {
    left.sends -= 1;
    const key = `${seed}-${name}-${number}-${sent}`;
    // The draws for one message do not depend on earlier events; the number of repeats has draws of its own.
    const will = plan(new Dice(seed, key, "plan"), slots.length, isHot);
    const dice = new Dice(seed, key);
    const slot = slots[will.place] as Slot;
    slot.chat ??= aChat(run, `${seed}-${name}-chat-${will.place}-${slot.chatNumber}`);
    const here = slot.chat;
    const chatId = await here;
    const content = textOf(dice, key, number * 1_000_000 + sent, !isHot);
    run.others.meet(new Dice(seed, key, "others"), chatId, door);
    const outcome = await send(door, dice, { key, client: number, chatId, content });
    const accepted = typeof outcome === "string" ? undefined : outcome;
    run.onSend?.(run.sends - left.sends);
    if (accepted) mine.push(accepted);
    // A repeat is most likely to differ in whether the chat has ended.
    if (accepted && (will.repeat || accepted.told.chat_status !== "ongoing")) await repeat(door, dice, accepted);
    if (mine.length > 0 && will.repeatEarlier) await repeat(door, dice, dice.of(mine as [Accepted]));
    if (will.read) await read(run, dice, chatId, mine);
    if (will.end) await endChat(door, dice, chatId);
    const isOver = outcome === "ended" || (accepted && accepted.told.chat_status !== "ongoing");
    if (isOver && slot.chat === here) {
      slot.chat = undefined;
      slot.chatNumber += 1;
    }
  }
}

/** What a client does for one message, and besides. */
function plan(dice: Dice, chats: number, isHot: boolean) {
  return {
    place: isHot || chats === 1 ? 0 : dice.between(1, chats - 1),
    repeat: dice.chance(repeats),
    repeatEarlier: dice.chance(lateRepeats),
    read: dice.chance(reads),
    end: !isHot && dice.chance(ends),
  };
}

async function aChat({ door, seed, agentIds }: Crowd, key: string): Promise<string> {
  const dice = new Dice(seed, key);
  const body = { agentId: dice.of(agentIds), metadata: { run: seed } };
  for (let attempt = 0; ; attempt++) {
    const known = await persist(door, dice, "create", { key, body });
    if (known.kind === "done") {
      door.ledger.created.set(key, known.data.chat_id);
      if (dice.chance(createRepeats)) await repeatCreate(door, dice, key, body, known.data);
      return known.data.chat_id;
    }
    door.ledger.breaks("stuck", `create ${key}: ${known.kind === "unanswered" ? known.last : known.kind}`);
    if (attempt === 3) throw new Error(`No chat could be created under ${key}`);
  }
}

async function repeatCreate(door: Door, dice: Dice, key: string, body: object, told: Data<"create">): Promise<void> {
  const known = await persist(door, dice, "create", { key, body });
  door.ledger.repeats += 1;
  const differ = known.kind === "done" ? differences(told, known.data) : [`it is ${known.kind}`];
  if (differ.length > 0) door.ledger.breaks("told otherwise", `a repeat of create ${key}: ${differ.join(", ")}`);
}

/** Sends a message until its outcome is known, and records it. */
async function send(
  { ledger, ...door }: Door,
  dice: Dice,
  given: Pick<Sent, "key" | "client" | "chatId" | "content">,
): Promise<Accepted | "ended" | "unanswered" | "undecided"> {
  const { key, chatId, content } = given;
  const from = Date.now();
  const known = await persist({ ledger, ...door }, dice, "message", { chatId, key, body: { content } });
  const sent: Sent = { ...given, from, to: Date.now() };
  if (known.kind === "ended") ledger.refused.push(sent);
  if (known.kind === "unanswered") {
    ledger.unanswered.push(sent);
    ledger.breaks("stuck", `${key} in ${chatId}: at last ${known.last}`, overwritten(ledger, sent));
  }
  if (known.kind === "undecided") ledger.undecided.push(sent);
  if (known.kind !== "done") return known.kind;
  if (known.isReplay) ledger.replays += 1;
  const accepted = { ...sent, told: known.data };
  ledger.accepted.push(accepted);
  return accepted;
}

/** A repeat with the same key must get the same answer, field by field. */
export async function repeat(door: Door, dice: Dice, told: Accepted): Promise<void> {
  const { key, chatId, content } = told;
  const { ledger } = door;
  // The old server overwrote the message with its key, so a repeat would be sent again.
  if (overwritten(ledger, told)) return;
  const known = await persist(door, dice, "message", { chatId, key, body: { content } });
  ledger.repeats += 1;
  const differ = known.kind === "done" ? differences(told.told, known.data) : [`it is ${known.kind}`];
  if (known.kind === "done" && !known.isReplay) differ.push("it is no replay");
  ledger.corrected += differ.filter(isCorrection).length;
  const wrong = differ.filter((line) => !isCorrection(line));
  if (wrong.length > 0) {
    ledger.breaks("told otherwise", `a repeat of ${key} in ${chatId}: ${wrong.join(", ")}`, overwritten(ledger, told));
  }
}

const overwritten = (ledger: Ledger, { chatId, from }: Sent) =>
  ledger.isOverwritten(chatId, from) ? "overwritten by the old server" : undefined;

/** The differences between two answers: paths, with both values. */
function differences(first: unknown, again: unknown, path = "data"): string[] {
  if (first === again) return [];
  if (typeof first === "object" && typeof again === "object" && first !== null && again !== null) {
    const names = new Set([...Object.keys(first), ...Object.keys(again)]);
    return [...names].flatMap((name) =>
      differences(Reflect.get(first, name), Reflect.get(again, name), `${path}.${name}`),
    );
  }
  const isBegun = typeof first === "string" && typeof again === "string" && again.startsWith(first);
  const isContent = path.endsWith(".content") && isBegun && first !== "";
  return [`${isContent ? correction : ""}${path} was ${JSON.stringify(first)}, is ${JSON.stringify(again)}`];
}

/** Whether the first answer had only the beginning of a text and this one has all of it. */
const correction = "corrected: ";
const isCorrection = (line: string) => line.startsWith(correction);

/** A transcript contains what a client was answered, at the same place. */
async function read({ door }: Crowd, dice: Dice, chatId: string, mine: Accepted[]): Promise<void> {
  const told = mine.filter((accepted) => accepted.chatId === chatId).slice(-5);
  const first = told[0];
  if (!first) return;
  const after = Math.max(0, first.told.user_message.seq - 1);
  const known = await persist(door, dice, "transcript", { chatId, query: `?after_seq=${after}&limit=500` });
  if (known.kind !== "done") return;
  const shown = new Map(known.data.messages.map((message) => [message.seq, message]));
  const end = known.meta.hasMore ? Number(known.meta.nextSeq) : Number.POSITIVE_INFINITY;
  for (const accepted of told) {
    const { message_id, seq } = accepted.told.user_message;
    if (seq > end || seq <= after) continue;
    const message = shown.get(seq);
    if (message && "role" in message && message.message_id === message_id && !message.delivery) continue;
    const what = `${accepted.key} in ${chatId}: accepted as ${seq} ${message_id}, read as ${JSON.stringify(message)}`;
    door.ledger.breaks("told otherwise", what, overwritten(door.ledger, accepted));
  }
}

/** Ends a chat, also while others talk in it. */
export async function endChat(door: Door, dice: Dice, chatId: string): Promise<void> {
  door.ledger.endsAsked.add(chatId);
  const known = await persist(door, dice, "end", { chatId });
  if (known.kind !== "done") door.ledger.breaks("stuck", `the end of ${chatId}`);
}
