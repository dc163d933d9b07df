import { createHash } from "node:crypto";
import { type Arg, type Command, type Redis, RedisError, type Reply } from "./redis.ts";

// At Upstash, pub/sub and transactions have paths of their own, and a request has no connection that it could change
// or block. Here these commands would also disturb every other request on the one connection to Redis.
const NOT_OVER_REST = new Set(
  `AUTH CLIENT HELLO QUIT RESET SELECT DISCARD EXEC MULTI UNWATCH WATCH MONITOR WAIT WAITAOF
   SUBSCRIBE UNSUBSCRIBE PSUBSCRIBE PUNSUBSCRIBE SSUBSCRIBE SUNSUBSCRIBE
   BLMOVE BLMPOP BLPOP BRPOP BRPOPLPUSH BZMPOP BZPOPMAX BZPOPMIN`.split(/\s+/),
);

// Redis has these, Upstash does not: they are about one server and its files.
const NOT_AT_UPSTASH = new Set(
  `BGREWRITEAOF BGSAVE CLUSTER CONFIG DEBUG FAILOVER LATENCY MIGRATE MODULE MOVE PFDEBUG PSYNC READONLY READWRITE
   REPLCONF REPLICAOF SAVE SHUTDOWN SLAVEOF SLOWLOG SWAPDB SYNC`.split(/\s+/),
);

/** Upstash's message for a command that it, or the Redis behind this emulator, does not have. */
function unavailable(name: string): RedisError {
  const page = "https://upstash.com/docs/redis/overall/rediscompatibility";
  return new RedisError(`ERR Command is not available: '${name}'. See ${page} for details`);
}

/** Redis's error as Upstash words it. */
function toUpstash(error: RedisError): RedisError {
  const unknown = /^ERR unknown command ['`](.*?)['`]/.exec(error.message)?.[1];
  return unknown === undefined ? error : unavailable(unknown);
}

/** The refusal of a command that Upstash would not run over REST. */
function refusalOf([name, ...args]: Command): RedisError | undefined {
  const isBlockingRead =
    (name === "XREAD" || name === "XREADGROUP") && args.some((arg) => /^block$/i.test(String(arg)));
  const isSetInfo = name === "CLIENT" && /^setinfo$/i.test(String(args[0]));
  if ((NOT_OVER_REST.has(name) && !isSetInfo) || isBlockingRead) {
    return new RedisError(`ERR Command "${name}" is not allowed in REST or it has a special context path`);
  }
  return NOT_AT_UPSTASH.has(name) ? unavailable(name) : undefined;
}

/** `send` goes to Redis; `reply` is the answer, unless what was sent failed. */
type Step = { send: Command; reply?: Reply } | { send?: undefined; reply: Reply };

/**
 * Upstash's commands in terms of Redis's: refuses what REST does not offer, and keeps the scripts.
 *
 * The scripts of @upstash/ratelimit begin with a line that only Upstash understands. They run without it and are found
 * by the hash of the whole text; therefore EVALSHA is resolved here and never reaches Redis.
 */
export class Commands {
  readonly #redis: Redis;
  readonly #scripts = new Map<string, string>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  /** Answers each of the commands, in order. */
  async run(commands: Command[]): Promise<Reply[]> {
    const steps = commands.map((command) => {
      const refused = refusalOf(command);
      return refused ? { reply: refused } : this.#plan(command);
    });
    return answers(steps, await this.#redis.run(sent(steps)));
  }

  /**
   * Runs the commands as one transaction. One that fails while it runs is a RedisError in its place.
   *
   * @throws  RedisError when a command is refused: nothing has been run then.
   */
  async transaction(commands: Command[]): Promise<Reply[]> {
    const refused = commands.map(refusalOf).find(Boolean);
    if (refused) throw refused;
    const steps = commands.map((command) => this.#plan(command));
    const replies = await this.#redis.transaction(sent(steps)).catch((error: unknown) => {
      throw error instanceof RedisError ? toUpstash(error) : error;
    });
    return answers(steps, replies);
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
    const script = text.replace(/^#!lua flags=allow-key-locking\b.*/, ""); // an empty line stays: errors have line numbers
    this.#scripts.set(sha, script);
    return { sha, script };
  }
}

function sent(steps: Step[]): Command[] {
  return steps.flatMap(({ send }) => (send ? [send] : []));
}

function answers(steps: Step[], replies: Reply[]): Reply[] {
  const next = replies.values();
  return steps.map((step) => {
    if (!step.send) return step.reply;
    const reply = next.next().value ?? null;
    return reply instanceof RedisError ? toUpstash(reply) : (step.reply ?? reply);
  });
}
