/** An answer leaves this long before Lambda ends the function. */
export const answerMarginMs = 2_000;

/** A call to Retell ends this long before, so that its outcome can still be stored. */
const callMarginMs = 5_000;

/**
 * When a request's calls to Retell must be over, and when its answer must leave. Both are counted back from the end of
 * the function: with its 29 s, a call ends 24 s after the invocation began, and the answer leaves by 27.
 */
export class Deadline {
  /** Epoch ms. */
  readonly callAt: number;
  readonly answerAt: number;

  constructor(remainingMs: number) {
    const end = Date.now() + remainingMs;
    this.callAt = end - callMarginMs;
    this.answerAt = end - answerMarginMs;
  }

  /** Aborts when calls to Retell must be over. */
  callSignal(): AbortSignal {
    return AbortSignal.timeout(Math.max(0, this.callAt - Date.now()));
  }

  /** Aborts just before the answer must leave: for what follows a call that took all of its time. */
  answerSignal(): AbortSignal {
    return AbortSignal.timeout(Math.max(0, this.answerAt - 500 - Date.now()));
  }

  /** Milliseconds until the answer must leave. */
  get leftMs(): number {
    return this.answerAt - Date.now();
  }
}
