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

/** The last requests to the API, and how many there were. */
export class RequestLog {
  #requests: Logged[] = [];
  #counts = new Map<Step, number>();
  #waiting = new Set<() => void>();

  add(request: Logged): void {
    this.#requests.push(request);
    if (this.#requests.length > KEPT) this.#requests.shift();
    this.#counts.set(request.step, (this.#counts.get(request.step) ?? 0) + 1);
    this.#look();
  }

  /** Notes how a request went, once its connection is done with it. */
  close(request: Logged, outcome: Pick<Logged, "status" | "unanswered">): void {
    Object.assign(request, outcome);
    this.#look();
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
    await new Promise<void>((resolve) => {
      const leave = () => {
        this.#waiting.delete(look);
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const look = () => this.find(wanted).length >= count && leave();
      this.#waiting.add(look);
      signal.addEventListener("abort", leave);
      look();
    });
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

  #look(): void {
    for (const look of this.#waiting) look();
  }
}
