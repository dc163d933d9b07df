/** The one place where the model meets the code: `reconcile`, given what the model knows. */
import { type ChatSnapshot, isUser, type StoredMessage } from "../../../lib/chat/model.ts";
import { toStoredMessage } from "../../../lib/chat/new-message.ts";
import { reconcile } from "../../../lib/chat/reconcile.ts";
import { visibleMessages } from "../../../lib/chat/view.ts";
import type { RetellMessage } from "../../../lib/retell/schema.ts";
import { type Clauses, type History, idOf, type Snapshot, spokenAt } from "./state.ts";

/** What reconcile decides, as far as the model knows it. */
export type Step =
  | { kind: "none" | "later" }
  | { kind: "fail"; reason: string; mayArrive: boolean }
  | { kind: "prepend"; entries: StoredMessage[] }
  | { kind: "correct"; index: number; content: string }
  | { kind: "append"; entries: StoredMessage[]; retellUserCount: number; lastTurn?: string };

const limits = { settleMs: 330_000, settleAfter500Ms: 15_000 };
function asChat({ messages, status, retellUserCount, turn, settled, lagOver }: Snapshot): ChatSnapshot {
  // All entries have one time, and what is sent is taken up at once.
  const now = new Date(spokenAt + (settled ? 600_000 : 60_000));
  const markedAt = new Date(now.getTime() - (lagOver || settled ? 20_000 : 5_000));
  const open = turn && { ...turn, operationId: "", at: new Date(spokenAt), markedAt };
  return {
    messages,
    now,
    chat_status: status,
    internal: { revision: 1, retellUserCount, ...(open ? { turn: open } : {}) },
  } as ChatSnapshot;
}

const known = new Map<string, Step>();

/** Drops the answers of reconcile. */
export const forgetSteps = () => known.clear();

/** What the code would write. Equal questions are asked once. */
export function decide(seen: Snapshot, history: History, clauses: Clauses): Step {
  const question = `${idOf(seen)} ${idOf(history)} ${clauses.texts} ${clauses.candidates} ${clauses.alignment}`;
  const step = known.get(question) ?? ask(seen, history, clauses);
  known.set(question, step);
  return step;
}

/** A clause of reconcile is taken out by keeping from it what the clause looks at. */
function ask(seen: Snapshot, { entries, over }: History, clauses: Clauses): Step {
  let chat = asChat(seen);
  let shown = entries as RetellMessage[];
  if (!clauses.texts) {
    chat = { ...chat, messages: chat.messages.map(mute) };
    shown = shown.map(mute);
  }
  if (!clauses.candidates)
    chat = { ...chat, messages: chat.messages.map((x) => (x.internal?.failed ? asFailed(x, { mayArrive: true }) : x)) };
  if (!clauses.alignment) shown = pairedFromTheBeginning(seen, shown);
  const history = {
    chat_status: over ? ("ended" as const) : ("ongoing" as const),
    message_with_tool_calls: shown,
  };
  return reconcile(chat, history, limits);
}

/** As if what Retell shows first were what we stored first. */
function pairedFromTheBeginning({ messages, turn }: Snapshot, shown: RetellMessage[]): RetellMessage[] {
  const ours = messages.filter((x) => isUser(x) && !x.internal?.failed && !(turn && x.internal?.turn === turn.id));
  return shown.map((entry) => {
    const message_id = isUser(entry) ? ours.shift()?.message_id : undefined;
    return message_id ? { ...entry, message_id } : entry;
  });
}

const mute = <T extends RetellMessage>(entry: T): T => (isUser(entry) ? { ...entry, content: "…" } : entry);

/** What is known of a failed turn. */
export type FailedWhy = Partial<Pick<Extract<Step, { kind: "fail" }>, "reason" | "mayArrive">>;

/** How the store writes that a message was not delivered. */
export function asFailed(message: StoredMessage, { mayArrive, reason }: FailedWhy): StoredMessage {
  const why = { ...(mayArrive ? { mayArrive } : {}), ...(reason === "undecided" ? { undecided: true as const } : {}) };
  return { ...message, internal: { ...message.internal, failed: true, ...why } };
}

/** How a turn's own sender stores an entry of its reply. */
export const storedReply = (entry: RetellMessage, turn: string): StoredMessage => toStoredMessage(entry, turn);

/** A turn's words of the agent, as a client sees them. */
export function wordsOf(messages: readonly StoredMessage[], turn: string): string {
  return visibleMessages({ messages: [...messages] }, false)
    .filter(({ seq, role }) => role === "agent" && messages[seq - 1]?.internal?.turn === turn)
    .map(({ content }) => content)
    .join(" ");
}
