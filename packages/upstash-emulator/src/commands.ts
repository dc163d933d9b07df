import { createHash } from "node:crypto";

/** One argument as Redis takes it; a Buffer where the bytes need not be text. */
export type Arg = string | Buffer;

/** A command for Redis. The name is in upper case. */
export type Command = [name: string, ...args: Arg[]];

/** What Redis answers to one command; an error, nested ones too, is a value and is not thrown. */
export type Reply = string | Buffer | number | null | RedisError | Reply[];

/** An error in Redis's own words, such as `WRONGTYPE Operation against ...`. */
export class RedisError extends Error {
  override readonly name = "RedisError";
}

/** What keeps the data. */
export interface Backend {
  /** The program or package behind the emulator: `redis-server`, `valkey-server` or `ioredis-mock`. */
  readonly name: string;
  /** Runs the commands in order and answers each; others may run in between. */
  run(commands: Command[]): Promise<Reply[]>;
  /**
   * Runs all of the commands with nothing in between, or none.
   *
   * @throws  RedisError, in the words of the first command that Redis would not queue.
   */
  transaction(commands: Command[]): Promise<Reply[]>;
  stop(): Promise<void>;
}

// Upstash: pub/sub has paths of its own, transactions are /multi-exec, a request has no connection that could be
// changed or blocked. Here they would moreover disturb every other request on the one connection to Redis.
const NOT_OVER_REST = new Set(
  `AUTH CLIENT HELLO QUIT RESET SELECT DISCARD EXEC MULTI UNWATCH WATCH MONITOR WAIT WAITAOF
   SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE
   BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN`.split(/\s+/),
);

// Redis has them, Upstash does not: they are about one server and its files.
const NOT_AT_UPSTASH = new Set(
  `BGREWRITEAOF BGSAVE CLUSTER CONFIG DEBUG FAILOVER LATENCY MIGRATE MODULE MOVE PFDEBUG PSYNC READONLY READWRITE
   REPLCONF REPLICAOF SAVE SHUTDOWN SLAVEOF SLOWLOG SWAPDB SYNC`.split(/\s+/),
);

/** Upstash's words for a command that it, or the backend, does not have. */
export function unavailable(name: string): RedisError {
  const page = "https://upstash.com/docs/redis/overall/rediscompatibility";
  return new RedisError(`ERR Command is not available: '${name}'. See ${page} for details`);
}

/** The refusal of a command that Upstash would not run over REST, if it is one. */
function refusal([name, ...args]: Command): RedisError | undefined {
  const isBlockingRead =
    (name === "XREAD" || name === "XREADGROUP") && args.some((arg) => /^block$/i.test(String(arg)));
  const saysWhoItIs = name === "CLIENT" && /^setinfo$/i.test(String(args[0]));
  if ((NOT_OVER_REST.has(name) && !saysWhoItIs) || isBlockingRead) {
    return new RedisError(`ERR Command "${name}" is not allowed in REST or it has a special context path`);
  }
  return NOT_AT_UPSTASH.has(name) ? unavailable(name) : undefined;
}

/** A command on its way: `send` goes to the backend; `reply` is the answer, unless what was sent failed. */
type Step = { send: Command; reply?: Reply } | { send?: undefined; reply: Reply };

/**
 * Upstash's commands in terms of Redis's: refuses what REST does not offer, and keeps the scripts.
 *
 * The scripts of @upstash/ratelimit begin with a line that only Upstash understands. They run without it and are still
 * found by the hash of the whole text, which is why EVALSHA is answered here and never reaches Redis.
 */
export class Commands {
  readonly #backend: Backend;
  readonly #scripts = new Map<string, string>();

  constructor(backend: Backend) {
    this.#backend = backend;
  }

  /** Answers each of the commands, in order. */
  async run(commands: Command[]): Promise<Reply[]> {
    const steps = commands.map((command) => {
      const refused = refusal(command);
      return refused ? { reply: refused } : this.#plan(command);
    });
    return this.#answer(steps, await this.#backend.run(sent(steps)));
  }

  /**
   * Runs the commands as one transaction. One that fails while it runs is a RedisError in its place.
   *
   * @throws  RedisError when a command is refused: nothing has been run then.
   */
  async transaction(commands: Command[]): Promise<Reply[]> {
    for (const command of commands) {
      const refused = refusal(command);
      if (refused) throw refused;
    }
    const steps = commands.map((command) => this.#plan(command));
    return this.#answer(steps, await this.#backend.transaction(sent(steps)));
  }

  #plan(command: Command): Step {
    const [name, first = "", ...rest] = command;
    switch (name) {
      case "CLIENT":
        return { reply: "OK" };
      case "EVAL":
      case "EVAL_RO":
        return { send: [name, this.#keep(String(first)).script, ...rest] };
      case "EVALSHA":
      case "EVALSHA_RO": {
        const script = this.#scripts.get(String(first).toLowerCase());
        if (script === undefined) return { reply: new RedisError("NOSCRIPT No matching script. Please use EVAL.") };
        return { send: [name === "EVALSHA" ? "EVAL" : "EVAL_RO", script, ...rest] };
      }
      case "SCRIPT":
        return this.#planScript(String(first).toUpperCase(), rest) ?? { send: command };
      default:
        return { send: command };
    }
  }

  #planScript(subcommand: string, args: Arg[]): Step | undefined {
    const [text] = args;
    if (subcommand === "FLUSH") {
      this.#scripts.clear();
      return { reply: "OK" };
    }
    if (subcommand === "EXISTS" && args.length > 0) {
      return { reply: args.map((sha) => Number(this.#scripts.has(String(sha).toLowerCase()))) };
    }
    if (subcommand === "LOAD" && text !== undefined && args.length === 1) {
      const { sha, script } = this.#keep(String(text));
      return { send: ["SCRIPT", "LOAD", script], reply: sha };
    }
  }

  #keep(text: string) {
    const sha = createHash("sha1").update(text).digest("hex");
    const script = text.replace(/^#!lua flags=allow-key-locking\b.*/, ""); // its line stays, for the numbers in errors
    this.#scripts.set(sha, script);
    return { sha, script };
  }

  #answer(steps: Step[], replies: Reply[]): Reply[] {
    const next = replies.values();
    return steps.map((step) => {
      if (!step.send) return step.reply;
      const reply = next.next().value ?? null;
      return reply instanceof RedisError ? reply : (step.reply ?? reply);
    });
  }
}

function sent(steps: Step[]): Command[] {
  return steps.flatMap(({ send }) => (send ? [send] : []));
}
