/** How many failures in a row, of how many chats, open a circuit, and for how long. */
const failuresUntilOpen = 5;
const chatsUntilOpen = 3;
const openMs = 10_000;

export interface CallTarget {
  /** A read changes nothing at Retell. */
  isRead: boolean;
  /** Undefined for a call without an existing chat, such as a create or a list. */
  chatId: string | undefined;
}

/** A call to Retell was not made. */
export class CircuitOpen extends Error {
  override readonly name = "CircuitOpen";
  /** `away`: too many calls have failed. `limited`: after a 429, for the time that it named. */
  readonly reason: "away" | "limited";
  /** Seconds until the next call is made. */
  readonly retryAfter: number;

  constructor(reason: CircuitOpen["reason"], ms: number) {
    super(reason === "away" ? `Circuit open after ${failuresUntilOpen} failures` : "Circuit open after a 429");
    this.reason = reason;
    this.retryAfter = Math.ceil(ms / 1_000);
  }
}

/**
 * The circuit breaker of one account. After five failures in a row, of three chats at least, calls are refused for 10 s,
 * and then one is let through as a probe. Three chats, because one chat that always fails says nothing about others; a
 * create or a list counts as a chat of its own. A 429 refuses all calls for as long as it says. Each account has its own
 * breaker, so that one tenant's failures do not affect another.
 *
 * Failed reads open only the circuit of reads: a message or a create is not refused because histories cannot be read.
 */
export class CircuitBreaker {
  private readonly reads = new Circuit();
  private readonly writes = new Circuit();
  private limitedUntil = 0;

  /** Why a call must not be made now; undefined when it may. Then `answered`, `failed` or `limited` must follow. */
  refusal({ isRead }: CallTarget): CircuitOpen | undefined {
    const limitedMs = this.limitedUntil - Date.now();
    if (limitedMs > 0) return new CircuitOpen("limited", limitedMs);
    const awayMs = (isRead ? this.reads : this.writes).refusedMs();
    return awayMs > 0 ? new CircuitOpen("away", awayMs) : undefined;
  }

  /** Retell has answered. A refusal is an answer, too. */
  answered(): void {
    this.reads.reset();
    this.writes.reset();
  }

  /** There was no answer, or a 5xx. */
  failed({ isRead, chatId = crypto.randomUUID() }: CallTarget): void {
    this.reads.failed(chatId);
    if (!isRead) this.writes.failed(chatId);
  }

  /** @param seconds The Retry-After of the 429. */
  limited(seconds: number): void {
    this.answered();
    this.limitedUntil = Math.max(this.limitedUntil, Date.now() + seconds * 1_000);
  }
}

class Circuit {
  private failures = 0;
  private readonly chats = new Set<string>();
  private openUntil = 0;

  /** For how many ms calls are still refused. After them, the first call passes, and the others are refused for 10 s. */
  refusedMs(): number {
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
