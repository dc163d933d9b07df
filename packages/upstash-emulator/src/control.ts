import * as z from "zod";

/** A failure to play, for the next `count` requests or, without a count, until the kind is "none". */
export const Fault = z.strictObject({
  /** down, drop: closed without an answer or effect. slow: done at once, answered late. garbage: not JSON, status 200. */
  kind: z.enum(["down", "slow", "drop", "garbage", "error500", "none"]),
  /** How late "slow" is. */
  ms: z.int().min(0).max(600_000).default(1000),
  count: z.int().positive().optional(),
});
export type Fault = z.infer<typeof Fault>;

/** What tests and measurements may see and change: how much was asked, and which failure to play. */
export class Control {
  #fault: Fault = { kind: "none", ms: 0 };
  #requests = 0;
  #commands = new Map<string, number>();

  /** Counts since the last reset: HTTP requests (refused ones too), and the commands in them by name. */
  get stats() {
    const byCommand = Object.fromEntries(this.#commands);
    const commands = [...this.#commands.values()].reduce((sum, count) => sum + count, 0);
    return { requests: this.#requests, commands, byCommand };
  }

  reset(): void {
    this.#requests = 0;
    this.#commands.clear();
  }

  play(fault: Fault): void {
    this.#fault = { ...fault };
  }

  /** Counts a request and says which failure is to be played on it. */
  onRequest(): Fault {
    this.#requests++;
    const fault = this.#fault;
    if (fault.count !== undefined && --fault.count === 0) this.#fault = { kind: "none", ms: 0 };
    return fault;
  }

  onCommand(name: string): void {
    this.#commands.set(name, (this.#commands.get(name) ?? 0) + 1);
  }
}
