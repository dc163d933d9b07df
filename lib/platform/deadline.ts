/**
 * When what must be over. API Gateway gives up after 30 s and the function ends after 29, so calls to Retell end
 * 24 s after the invocation began and our answer leaves by 27. Counted back from the function's own deadline.
 */
export class Deadline {
  /** Epoch ms. */
  readonly callAt: number;
  readonly answerAt: number;

  constructor(remainingMs: number) {
    const end = Date.now() + remainingMs;
    this.callAt = end - 5_000;
    this.answerAt = end - 2_000;
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
