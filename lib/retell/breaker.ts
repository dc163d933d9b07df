/** So many calls in a row that met no Retell, and so long it is left alone then: as with Redis, but a send costs more. */
const failuresUntilOpen = 5;
const openMs = 10_000;

/** Retell was not asked. */
export class LeftAlone extends Error {
  override readonly name = "LeftAlone";
  /** It has failed again and again, or it has said how long to wait. */
  readonly reason: "away" | "limited";
  /** Seconds until it is asked again. */
  readonly retryAfter: number;

  constructor(reason: LeftAlone["reason"], ms: number) {
    super(reason === "away" ? `Left alone after ${failuresUntilOpen} failures` : "Left alone after a 429");
    this.reason = reason;
    this.retryAfter = Math.ceil(ms / 1_000);
  }
}

/**
 * Keeps one account's calls from a Retell that is away, where each would hang for seconds or add to its load: after
 * five failures in a row they are refused for 10 s, then one is let through to try. A 429 has them refused for as long
 * as it says. One per account, so that nobody's trouble is another's.
 *
 * Reads that would settle a turn are refused like all others: the turn stays open, and whoever comes next reads.
 */
export class Breaker {
  private failures = 0;
  private awayUntil = 0;
  private limitedUntil = 0;

  /** Why a call must not be made now; undefined when it may, and then what became of it is to be told. */
  refusal(): LeftAlone | undefined {
    const now = Date.now();
    if (now < this.limitedUntil) return new LeftAlone("limited", this.limitedUntil - now);
    if (now < this.awayUntil) return new LeftAlone("away", this.awayUntil - now);
    // Half open. The time starts anew, so that one call in 10 s tries, even if the last one has not come back.
    if (this.failures >= failuresUntilOpen) this.awayUntil = now + openMs;
    return undefined;
  }

  /** Retell has answered; a refusal is an answer, too. */
  answered(): void {
    this.failures = 0;
    this.awayUntil = 0;
  }

  /** No answer, or one that says that Retell cannot answer now. */
  failed(): void {
    this.failures += 1;
    if (this.failures >= failuresUntilOpen) this.awayUntil = Date.now() + openMs;
  }

  /** @param seconds What its 429 asks for. */
  limited(seconds: number): void {
    this.answered();
    this.limitedUntil = Date.now() + seconds * 1_000;
  }
}
