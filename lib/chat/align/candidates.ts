import type { RetellMessage } from "../../retell/schema.ts";
import { type ChatSnapshot, isUser, type StoredMessage, type Turn } from "../model.ts";
import { entryAfterSendMs, entryBeforeSendMs, replacedTextMs, serverClocksMs } from "../timing.ts";
import type { Part } from "./parts.ts";
import { normalized } from "./text.ts";

/** Which part of Retell's history is which send of ours. */
export type Owners = Map<Part<RetellMessage>, StoredMessage>;

/**
 * Sends that Retell may have received though it did not confirm them: the open turn, and sends that were given up.
 * Decides which entries of Retell's are theirs.
 */
export class Candidates {
  private readonly turn: Turn | undefined;
  private readonly sends: StoredMessage[];
  readonly owners: Owners = new Map();

  constructor({ messages, internal }: ChatSnapshot) {
    this.turn = internal?.turn;
    const found = new Set(messages.map((message) => message.internal?.supersedes));
    const sent = messages.filter((message) => !message.internal?.failed || message.internal.mayArrive);
    const lastOf = new Map(sent.map((message) => [message.internal?.key, message]));
    this.sends = messages.filter((message) => {
      const { turn: id, mayArrive, key } = message.internal ?? {};
      if (!isUser(message) || id === undefined || found.has(id)) return false;
      // A send that was repeated with its key is waited for under the repeat's turn.
      return id === this.turn?.id || (mayArrive === true && (key === undefined || lastOf.get(key) === message));
    });
  }

  /**
   * Assigns each entry to at most one send of the same text: to the send that was made soonest before it. Where times
   * do not tell, the open turn comes first, as the others were given up long ago, and then the order.
   */
  assignByText(left: Part<RetellMessage>[]): void {
    for (const [text, same] of Map.groupBy(this.sends, ({ content }) => normalized(content))) {
      const spoken = left.filter(({ user }) => normalized(user?.content) === text);
      const first = spoken.length < same.length ? same.filter((send) => this.isOpen(send)) : [];
      const inOrder = [...first, ...same.filter((send) => !first.includes(send))];
      const pairs = inOrder.flatMap((send) =>
        spoken.flatMap((part) => {
          const wait = this.waitOf(part, send);
          return wait === undefined || !this.isPlausible(part, send) ? [] : [{ send, part, wait }];
        }),
      );
      const taken = new Set<StoredMessage>();
      for (const { send, part } of pairs.sort((a, b) => a.wait - b.wait)) {
        if (taken.has(send) || this.owners.has(part)) continue;
        this.owners.set(part, send);
        taken.add(send);
      }
    }
  }

  /**
   * Assigns entries of another text to sends, since a guardrail may have replaced the text: in their order, if there
   * are as many entries as sends.
   *
   * @param decideByOrder Whether the order may decide.
   * @returns The sends that stay undecided: an entry may be this send, or somebody else's message.
   */
  assignByOrder(left: Part<RetellMessage>[], decideByOrder: boolean): Set<StoredMessage> {
    const given = new Set(this.owners.values());
    const open = this.sends.filter((send) => !given.has(send));
    // If Retell refused it, only its own text proves that Retell took it all the same. Any other entry of that time may
    // be it.
    const isRefused = (send: StoredMessage) => this.turn?.refusedByRetell === true && this.isOpen(send);
    const able = open.filter((send) => !isRefused(send) || left.some((part) => this.mayBeReplaced(part, send)));
    const cameAfter = (part: Part<RetellMessage>, send: StoredMessage) =>
      this.isPlausible(part, send) && this.waitOf(part, send) !== undefined;
    const spoken = left.filter((part) => able.some((send) => cameAfter(part, send)));
    const areAll =
      spoken.length === able.length && able.every((send, i) => !isRefused(send) && this.mayBeReplaced(spoken[i], send));
    if (!areAll || !decideByOrder) {
      return new Set(able.filter((send) => isRefused(send) || left.some((part) => this.isPlausible(part, send))));
    }
    for (const [i, part] of spoken.entries()) {
      const send = able[i];
      if (send) this.owners.set(part, send);
    }
    return new Set();
  }

  private isOpen({ internal }: StoredMessage): boolean {
    return this.turn !== undefined && internal?.turn === this.turn.id;
  }

  /** When a send was made: of an open turn, and of one that was given up since, by MongoDB's clock. */
  private sentAtOf(send: StoredMessage): number | undefined {
    return this.isOpen(send) ? this.turn?.at.getTime() : (send.internal?.sentAt ?? send.created_timestamp);
  }

  /**
   * How long (ms) after a send an entry came; 0 for right after. Undefined: by the servers' clocks, it is older than
   * the send.
   */
  private waitOf({ user }: Part<RetellMessage>, send: StoredMessage): number | undefined {
    const at = user?.created_timestamp;
    const sentAt = this.sentAtOf(send);
    if (at === undefined || sentAt === undefined) return 0;
    const ms = at - sentAt;
    const isByServers = this.isOpen(send) || send.internal?.sentAt !== undefined;
    return ms < -serverClocksMs && isByServers ? undefined : Math.max(0, Math.abs(ms) - replacedTextMs);
  }

  /**
   * Whether an entry may be a send, by the times of both. An open turn may wait for its entry as long as it is open.
   */
  private isPlausible(part: Part<RetellMessage>, send: StoredMessage): boolean {
    const at = part.user?.created_timestamp;
    const sentAt = this.sentAtOf(send);
    if (at === undefined || sentAt === undefined) return true;
    return at - sentAt > -entryBeforeSendMs && (this.isOpen(send) || at - sentAt < entryAfterSendMs);
  }

  /**
   * Whether an entry of another text may be a send whose text was replaced. The entry of an open turn was created when
   * Retell received it, right after BEGIN, and that of a refused one before its refusal: later entries are somebody
   * else's. All times are of servers, not of instances.
   */
  private mayBeReplaced(part: Part<RetellMessage> | undefined, send: StoredMessage): boolean {
    if (!part) return false;
    const { turn } = this;
    if (!turn || !this.isOpen(send)) return send.internal?.undecided !== true && this.isPlausible(part, send);
    const at = part.user?.created_timestamp;
    const untilMs =
      turn.refusedByRetell && turn.markedAt
        ? turn.markedAt.getTime() + serverClocksMs
        : turn.at.getTime() + replacedTextMs;
    return at === undefined || (at > turn.at.getTime() - serverClocksMs && at < untilMs);
  }
}
