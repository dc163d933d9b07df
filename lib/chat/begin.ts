import { ApiError } from "../platform/errors.ts";
import type { SendContext } from "./context.ts";
import { chatForReplay } from "./end-status.ts";
import { importLegacyChat } from "./legacy.ts";
import { type IdempotencyKey, isLive } from "./model.ts";
import { type ClientMessage, userMessage } from "./new-message.ts";
import { chatBusy, replayOf, type Sent, toUserMessage } from "./outcome.ts";
import type { UserMessage } from "./schema.ts";
import { settle } from "./settle.ts";
import { findObstacle, type Obstacle } from "./store/obstacle.ts";
import * as turns from "./store/turns.ts";
import { leaseMs, minCallMs } from "./timing.ts";

/** A turn that has begun: the user's message is stored, and the chat is ours until it is finished or failed. */
export interface BegunTurn {
  turnId: string;
  content: string;
  /** It may be repeated with its key, and is then told what the first answer told. */
  isKeyed: boolean;
  user: UserMessage;
  /** When the chat began, epoch ms. */
  startedAt: number;
}

const rounds = 3;

/** Stores what the user says and takes the chat's one turn. A turn that a dead sender left open is settled first. */
export async function begin(
  context: SendContext,
  said: ClientMessage,
  key: IdempotencyKey | undefined,
): Promise<BegunTurn | Sent> {
  const { tenant, chatId, deadline } = context;
  const turnId = crypto.randomUUID();
  const operationId = String(tenant.log.fields.operationId);
  const message = userMessage(said, turnId, key);
  const turn = { id: turnId, operationId, message, leaseMs: leaseMs() };

  for (let round = 0; round < rounds; round++) {
    // Settling and importing take time. Nothing has been sent.
    if (round > 0 && deadline.callAt - Date.now() < minCallMs) throw new ApiError("TIMEOUT");
    const begun = await turns.begin(tenant, chatId, turn).catch((error) => {
      // It may have been stored without an answer, or be stored later. Nothing was sent, so nobody need wait for it.
      // Not awaited: Mongo has just kept us waiting. If this fails, the turn is settled like a dead sender's.
      turns.cancel(tenant, chatId, turnId).catch(() => {});
      throw error;
    });
    if (begun) {
      if (typeof begun.agentId === "string") tenant.log.fields.agentId = begun.agentId;
      const user = toUserMessage(message, begun.seq);
      return { turnId, content: said.content, isKeyed: key !== undefined, user, startedAt: begun.startedAt };
    }
    const found = await findObstacle(tenant, chatId, key);
    if (found.kind === "sent") return replayOf(await chatForReplay(context, found.turnId), found.turnId);
    await clearObstacle(found, context);
  }
  throw chatBusy(undefined, new Date());
}

/**
 * Removes what stands in the way of a turn, where that can be done, and throws what the client is told where it cannot.
 */
async function clearObstacle(found: Exclude<Obstacle, { kind: "sent" }>, context: SendContext): Promise<void> {
  const { deadline } = context;
  switch (found.kind) {
    case "missing":
      throw new ApiError("CHAT_NOT_FOUND");
    case "key reused":
      throw new ApiError("IDEMPOTENCY_KEY_REUSED");
    case "open turn": {
      const isLeased = isLive(found.turn, found.now);
      if (isLeased || (await settle(context, { signal: deadline.callSignal() })).openTurn)
        throw chatBusy(found.turn, found.now, found.own && toUserMessage(found.own.message, found.own.seq));
      return;
    }
    case "ended":
      throw new ApiError("CHAT_ENDED");
    case "not imported":
      return importLegacyChat(context, "MESSAGE_SEND_FAILED", deadline.callSignal());
    case "full":
      throw new ApiError("PAYLOAD_TOO_LARGE", { message: "The chat is full; start a new one" });
    case "none":
  }
}
