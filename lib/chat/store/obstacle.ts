import type { TenantContext } from "../../access/tenant.ts";
import { type ChatSnapshot, type IdempotencyKey, isImported, type StoredMessage, seqAt, type Turn } from "../model.ts";
import { maxChatBytes } from "../size.ts";
import { findDurable, messageList, oneChat } from "./collection.ts";

/** A message that came with a key. The key of a failed one is free, unless the message may have been delivered. */
export const sentWith = (key: string) => ({
  "internal.key": key,
  $or: [{ "internal.failed": { $exists: false } }, { "internal.undecided": true }],
});

/** `isImported`, of a chat that has `retellUserCount`. */
export const importedOnly = [
  { "messages.0.internal": { $exists: true } },
  { messages: { $size: 0 }, "internal.retellUserCount": 0, "internal.opening": { $in: [0, null] } },
];

/** Why a turn could not begin. */
export type Obstacle =
  /** This subaccount has no such chat. */
  | { kind: "missing" }
  /** The Idempotency-Key came with another body before. */
  | { kind: "key reused" }
  /** A message with this key was sent in a turn that is over. */
  | { kind: "sent"; turnId: string }
  /** A turn is open. `now` is the server's clock. `own`: its message, if it was sent with this key. */
  | { kind: "open turn"; turn: Turn; now: Date; own: { message: StoredMessage; seq: number } | undefined }
  | { kind: "ended" }
  | { kind: "not imported" }
  | { kind: "full" }
  /** None is left: the chat was busy a moment ago. */
  | { kind: "none" };

/** Finds what stood in the way of BEGIN, by the chat as it is right after. */
export async function findObstacle(
  tenant: TenantContext,
  chatId: string,
  key: IdempotencyKey | undefined,
): Promise<Obstacle> {
  const found = await findDurable(tenant, oneChat(tenant, chatId), (chats) =>
    chats.findOne<Found>(oneChat(tenant, chatId), {
      projection: {
        _id: 0,
        chat_status: 1,
        internal: 1,
        bytes: { $bsonSize: "$$ROOT" },
        now: "$$NOW",
        first: { $slice: [messageList, 1] },
        ...(key ? { messages: { $elemMatch: sentWith(key.id) }, openIndex } : {}),
      },
    }),
  );
  if (!found) return { kind: "missing" };

  const { chat_status, internal, bytes, now, first } = found;
  const turn = internal?.turn;
  const message = found.messages?.[0];
  const earlier = message?.internal;
  if (earlier && earlier.hash !== key?.hash) return { kind: "key reused" };
  if (earlier?.turn && earlier.turn !== turn?.id) return { kind: "sent", turnId: earlier.turn };
  const own = message && { message, seq: seqAt(found.openIndex ?? 0, internal) };
  if (turn) return { kind: "open turn", turn, now, own };
  if (chat_status !== "ongoing") return { kind: "ended" };
  if (!isImported({ internal, messages: first })) return { kind: "not imported" };
  return { kind: bytes >= maxChatBytes || internal?.overflows ? "full" : "none" };
}

/** The index of the open turn's user message, which is the first message of its turn. */
const openIndex = {
  $indexOfArray: [
    { $map: { input: messageList, in: { $ifNull: ["$$this.internal.turn", null] } } },
    "$internal.turn.id",
  ],
};

/** What is read of the chat. */
type Found = Pick<ChatSnapshot, "chat_status" | "internal" | "now"> & {
  bytes: number;
  first: StoredMessage[];
  /** The message that came with the key. */
  messages?: StoredMessage[];
  openIndex?: number;
};
