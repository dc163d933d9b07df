import type { Step } from "./steps.ts";

/** One request as it came, and how it went as far as that is known. */
export type Logged = {
  method: string;
  path: string;
  step: Step;
  chat_id?: string;
  key?: string;
  at: number;
  body?: unknown;
  fault?: string;
  status?: number;
  /** The caller left, or was cut off, before all of an answer had gone out. */
  unanswered?: boolean;
};

type Wanted = { step?: string; chat_id?: string; key?: string; unanswered?: boolean };

const KEPT = 1_000;

/** Those who wait until something is so. */
export class Waiting {
  readonly #looks = new Set<() => void>();

  /** Resolves as soon as it is so, or nobody wants to know any more. */
  until(isSo: () => boolean, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const leave = () => {
        this.#looks.delete(look);
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const look = () => isSo() && leave();
      this.#looks.add(look);
      signal.addEventListener("abort", leave);
      look();
    });
  }

  /** To be called after each change. */
  look(): void {
    for (const look of this.#looks) look();
  }
}

/** The last requests to the API, and how many there were. */
export class RequestLog {
  #requests: Logged[] = [];
  #counts = new Map<Step, number>();
  readonly #waiting = new Waiting();

  add(request: Logged): void {
    this.#requests.push(request);
    if (this.#requests.length > KEPT) this.#requests.shift();
    this.#counts.set(request.step, (this.#counts.get(request.step) ?? 0) + 1);
    this.#waiting.look();
  }

  /** Notes how a request went, once its connection is done with it. */
  close(request: Logged, outcome: Pick<Logged, "status" | "unanswered">): void {
    Object.assign(request, outcome);
    this.#waiting.look();
  }

  find({ step, chat_id, key, unanswered }: Wanted): Logged[] {
    return this.#requests.filter(
      (request) =>
        (step === undefined || request.step === step) &&
        (chat_id === undefined || request.chat_id === chat_id) &&
        (key === undefined || request.key === key) &&
        (unanswered === undefined || request.unanswered === unanswered),
    );
  }

  /** Resolves once so many such requests have come. */
  async findAtLeast(count: number, wanted: Wanted, signal: AbortSignal): Promise<Logged[]> {
    await this.#waiting.until(() => this.find(wanted).length >= count, signal);
    return this.find(wanted);
  }

  stats() {
    const byStep = Object.fromEntries(this.#counts);
    return { requests: [...this.#counts.values()].reduce((sum, count) => sum + count, 0), byStep };
  }

  reset(): void {
    this.#requests = [];
    this.#counts.clear();
  }
}
