import { Journal } from "./journal.ts";
import type { Step } from "./steps.ts";

/** A request to the chat API, and its outcome once the connection is closed. */
export type LoggedRequest = {
  method: string;
  path: string;
  step: Step;
  chat_id?: string;
  key?: string;
  at: number;
  body?: unknown;
  /** The kind of the fault that it met. */
  fault?: string;
  status?: number;
  /** The client has disconnected, or was cut off, before the answer was complete. */
  unanswered?: boolean;
};

/** The last requests to the chat API, and how many there were. */
export class Requests extends Journal<LoggedRequest> {
  #byStep: Partial<Record<Step, number>> = {};

  override add(request: LoggedRequest): LoggedRequest {
    this.#byStep[request.step] = (this.#byStep[request.step] ?? 0) + 1;
    return super.add(request);
  }

  override clear(): void {
    super.clear();
    this.#byStep = {};
  }

  stats() {
    return { requests: Object.values(this.#byStep).reduce((sum, count) => sum + count, 0), byStep: this.#byStep };
  }
}
