const KINDS = ["drop", "slow", "garbage", "error500", "none"] as const;
const SLOW_AT_MOST_MS = 600_000;

/** A failure that the next requests meet. */
export interface Fault {
  /** drop: closed without an answer or effect. slow: done at once, answered late. garbage: HTML with status 200. */
  kind: (typeof KINDS)[number];
  /** How late `slow` is. Default 1,000. */
  ms?: number;
  /** How many requests meet it. Absent: all, until the kind is `none`. */
  count?: number;
}

/** @throws  SyntaxError or TypeError that says what is wrong with it. */
export function readFault(json: string): Fault {
  const { kind, ms = 1_000, count, ...rest } = Object(JSON.parse(json));
  if (!KINDS.includes(kind)) throw new TypeError(`kind must be one of ${KINDS.join(", ")}`);
  if (!(Number.isInteger(ms) && ms >= 0 && ms <= SLOW_AT_MOST_MS)) {
    throw new TypeError(`ms must be an integer from 0 to ${SLOW_AT_MOST_MS}`);
  }
  if (count !== undefined && !(Number.isInteger(count) && count > 0)) throw new TypeError("count must be above 0");
  const [unknown] = Object.keys(rest);
  if (unknown !== undefined) throw new TypeError(`there is no ${unknown}, only kind, ms and count`);
  return { kind, ms, count };
}

/** What tests can see and change: how much was asked, and which failure to play. */
export class Control {
  #fault: Fault = { kind: "none" };
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

  /** Counts a request and returns the failure that it meets. */
  onRequest(): Fault {
    this.#requests++;
    const fault = this.#fault;
    if (fault.count !== undefined && --fault.count === 0) this.#fault = { kind: "none" };
    return fault;
  }

  onCommand(name: string): void {
    this.#commands.set(name, (this.#commands.get(name) ?? 0) + 1);
  }
}
