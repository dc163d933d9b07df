/** So many failures in a row, of so many different chats, open a circuit, and for so long. */
const failuresUntilOpen = 5;
const chatsUntilOpen = 3;
const openMs = 10_000;

/** What a call is about. */
export interface CallTarget {
  /** A read changes nothing at Retell. */
  isRead: boolean;
  /** Absent: the call is about no chat that exists, such as a create or a list. */
  chatId: string | undefined;
}

/** Retell was not asked. */
export class CircuitOpen extends Error {
  override readonly name = "CircuitOpen";
  /** It has failed again and again, or it has said how long to wait. */
  readonly reason: "away" | "limited";
  /** Seconds until it is asked again. */
  readonly retryAfter: number;

  constructor(reason: CircuitOpen["reason"], ms: number) {
    super(reason === "away" ? `Circuit open after ${failuresUntilOpen} failures` : "Circuit open after a 429");
    this.reason = reason;
    this.retryAfter = Math.ceil(ms / 1_000);
  }
}

/**
 * Keeps one account's calls from a Retell that is away, where each would hang for seconds or add to its load. After five
 * failures in a row, of three chats at least, calls are refused for 10 s, then one is let through to try. A chat that
 * always fails says nothing about the others; a create or a list counts like a chat of its own. A 429 refuses all calls
 * for as long as it says. Each account has a breaker of its own, so that one tenant's trouble stays its own.
 *
 * Failed reads stop reads alone: what a user says or creates is not refused because histories cannot be read.
 */
export class CircuitBreaker {
  private readonly reads = new Circuit();
  private readonly writes = new Circuit();
  private limitedUntil = 0;

  /** Why a call must not be made now; undefined when it may, and then its outcome must be told. */
  refusal({ isRead }: CallTarget): CircuitOpen | undefined {
    const limitedMs = this.limitedUntil - Date.now();
    if (limitedMs > 0) return new CircuitOpen("limited", limitedMs);
    const awayMs = (isRead ? this.reads : this.writes).closedFor();
    return awayMs > 0 ? new CircuitOpen("away", awayMs) : undefined;
  }

  /** Retell has answered; a refusal is an answer, too. */
  answered(): void {
    this.reads.reset();
    this.writes.reset();
  }

  /** No answer, or one that says that Retell cannot answer now. */
  failed({ isRead, chatId = crypto.randomUUID() }: CallTarget): void {
    this.reads.failed(chatId);
    if (!isRead) this.writes.failed(chatId);
  }

  /** @param seconds What its 429 asks for. */
  limited(seconds: number): void {
    this.answered();
    this.limitedUntil = Math.max(this.limitedUntil, Date.now() + seconds * 1_000);
  }
}

class Circuit {
  private failures = 0;
  private readonly chats = new Set<string>();
  private openUntil = 0;

  /** How many ms calls are refused yet. Once they are over, the first call that asks is let through for 10 s. */
  closedFor(): number {
    const ms = this.openUntil - Date.now();
    if (ms <= 0) this.open();
    return ms;
  }

  failed(chatId: string): void {
    this.failures += 1;
    if (this.chats.size < chatsUntilOpen) this.chats.add(chatId);
    this.open();
  }

  reset(): void {
    this.failures = 0;
    this.chats.clear();
    this.openUntil = 0;
  }

  private open(): void {
    const isAway = this.failures >= failuresUntilOpen && this.chats.size >= chatsUntilOpen;
    if (isAway) this.openUntil = Date.now() + openMs;
  }
}
