import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import RedisMock from "ioredis-mock";
import * as z from "zod";
import { type Backend, type Command, RedisError, type Reply, unavailable } from "./commands.ts";

/** What `COMMAND` says of one command, as far as we need it. */
const CommandInfo = z
  .tuple([
    z.string(), // its name
    z.int(), // how many arguments, the name included; negative: at least so many
    z.unknown(),
    z.int(), // where the first key stands
    z.unknown(),
    z.unknown(),
    z.array(z.string()), // its categories
  ])
  .rest(z.unknown());

/** What `TYPE` answers for a key on which commands of a category work. */
const TYPES: Record<string, string> = {
  "@string": "string",
  "@hash": "hash",
  "@list": "list",
  "@set": "set",
  "@sortedset": "zset",
  "@stream": "stream",
};
const OVERWRITES = /^(SET|SETEX|PSETEX|MSET|MGET|SETNX|MSETNX|.+STORE)$/;
const INTEGER = /^-?\d{1,19}$/;
const EVERYTHING = "1000000000";

const NOT_AN_INTEGER = "ERR value is not an integer or out of range";
const WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";

const LUA = readFileSync(new URL("mock.lua", import.meta.url), "utf8");

/** A JavaScript twin of Redis in this process, for where there is no server: enough for a cache and rate limits. */
export async function startMock(): Promise<Backend> {
  const mock = await Mock.create();
  return {
    name: "ioredis-mock",
    run: (commands) => mock.alone(() => mock.run(commands)),
    transaction: (commands) =>
      mock.alone(() => {
        for (const command of commands) mock.check(command);
        return mock.run(commands);
      }),
    stop: () => mock.stop(),
  };
}

/** ioredis-mock, and what it gets wrong put right: it ignores most mistakes, and options in lower case. */
class Mock {
  // Instances with the same host, the default one too, share their data.
  readonly #redis = new RedisMock({ host: randomUUID() });
  readonly #arities = new Map<string, number>();
  readonly #keys = new Map<string, { position: number; type: string | undefined }>();
  #last: Promise<unknown> = Promise.resolve();

  static async create(): Promise<Mock> {
    const mock = new Mock();
    const infos = z.array(CommandInfo).parse(await mock.#redis.command("INFO"));
    for (const [name, arity, , position, , , categories] of infos) {
      // The commands that it only knows by name are there too, but hidden, and throw.
      if (!Object.keys(mock.#redis).includes(name)) continue;
      const type = Object.keys(TYPES).find((category) => categories.includes(category));
      mock.#arities.set(name.toUpperCase(), arity);
      if (type && position > 0) mock.#keys.set(name.toUpperCase(), { position, type: TYPES[type] });
    }
    mock.#arities.set("SCRIPT", -2);
    return mock;
  }

  /** One request at a time: a command takes more than one step here, and Redis does one command at a time. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  async run(commands: Command[]): Promise<Reply[]> {
    const replies: Reply[] = [];
    for (const command of commands) replies.push(await this.#answer(command));
    return replies;
  }

  /** @throws  RedisError for what Redis would not even queue. */
  check([name, ...args]: Command): void {
    const arity = this.#arities.get(name);
    if (arity === undefined) throw unavailable(name);
    const given = args.length + 1;
    if (arity >= 0 ? given !== arity : given < -arity) {
      throw new RedisError(`ERR wrong number of arguments for '${name.toLowerCase()}' command`);
    }
  }

  async stop(): Promise<void> {
    await this.#redis.flushall();
    this.#redis.disconnect();
  }

  async #answer(command: Command): Promise<Reply> {
    try {
      this.check(command);
      const [name, ...args] = command;
      return await this.#run(name, args.map(String));
    } catch (error) {
      if (error instanceof RedisError) return error;
      // It throws plain errors, and TypeErrors where it did not expect its input.
      const message = error instanceof Error ? error.message : String(error);
      return new RedisError(/^[A-Z]+ /.test(message) ? message : `ERR ioredis-mock: ${message}`);
    }
  }

  async #run(name: string, args: string[]): Promise<Reply> {
    await this.#checkType(name, args);
    switch (name) {
      case "SET":
        return this.#do(name, await this.#setArguments(args));
      case "INCR":
      case "DECR":
      case "INCRBY":
      case "DECRBY":
        this.#checkIntegers(await this.#redis.get(args[0] ?? ""), args[1]);
        return this.#do(name, args);
      case "EXPIRE":
      case "PEXPIRE":
      case "EXPIREAT":
      case "PEXPIREAT":
        this.#checkIntegers(args[1]);
        if (args.length > 2) throw new RedisError(`ERR ioredis-mock: ${name} takes no options`);
        return this.#do(name, args);
      case "ZADD":
        return this.#do(name, zaddArguments(args));
      case "SCAN":
        return this.#scan(args);
      case "STRLEN":
        return Buffer.byteLength((await this.#redis.get(args[0] ?? "")) ?? "");
      case "TIME": {
        const now = Date.now(); // as for expiry, so that a test may move the clock
        return [String(Math.floor(now / 1000)), String((now % 1000) * 1000)];
      }
      case "EVAL":
        return this.#eval(args);
      case "SCRIPT":
        return this.#script(args);
      default:
        return this.#do(name, args);
    }
  }

  async #do(name: string, args: string[]): Promise<Reply> {
    const method: unknown = Reflect.get(this.#redis, name.toLowerCase());
    if (typeof method !== "function") throw unavailable(name);
    return asReply(await Reflect.apply(method, this.#redis, args));
  }

  async #checkType(name: string, args: string[]): Promise<void> {
    const key = this.#keys.get(name);
    if (!key || OVERWRITES.test(name)) return;
    const type = await this.#redis.type(args[key.position - 1] ?? "");
    if (type !== "none" && type !== key.type) throw new RedisError(WRONG_TYPE);
  }

  #checkIntegers(...values: (string | null | undefined)[]): void {
    if (values.some((value) => typeof value === "string" && !INTEGER.test(value))) throw new RedisError(NOT_AN_INTEGER);
  }

  /** SET's options in the order and case in which ioredis-mock understands them, KEEPTTL as the time that is left. */
  async #setArguments([key = "", value = "", ...rest]: string[]): Promise<string[]> {
    const flags = new Set<string>();
    const expiry: string[] = [];
    const options = rest.values();
    for (const option of options) {
      const word = option.toUpperCase();
      if (/^(NX|XX|GET)$/.test(word)) flags.add(word);
      else if (word === "KEEPTTL" && expiry.length === 0) expiry.push(word);
      else if (/^(EX|PX|EXAT|PXAT)$/.test(word) && expiry.length === 0) {
        const time = options.next().value ?? "";
        this.#checkIntegers(time);
        if (Number(time) <= 0) throw new RedisError("ERR invalid expire time in 'set' command");
        expiry.push(word, time);
      } else throw new RedisError("ERR syntax error");
    }
    if (flags.has("NX") && flags.has("XX")) throw new RedisError("ERR syntax error");
    if (flags.has("GET")) await this.#checkType("GET", [key]);
    if (expiry[0] === "KEEPTTL") {
      const left = await this.#redis.pttl(key);
      expiry.splice(0, 1, ...(left > 0 ? ["PX", String(left)] : []));
    }
    return [key, value, ...expiry, ...flags];
  }

  /** Everything in one page: the mock's cursor is a position, and would pass over keys after a deletion. */
  async #scan([cursor = "", ...options]: string[]): Promise<Reply> {
    if (!INTEGER.test(cursor)) throw new RedisError("ERR invalid cursor");
    let [pattern, type] = ["*", ""];
    for (let i = 0; i < options.length; i += 2) {
      const value = options[i + 1];
      const option = options[i]?.toUpperCase();
      if (value === undefined) throw new RedisError("ERR syntax error");
      if (option === "MATCH") pattern = value;
      else if (option === "TYPE") type = value.toLowerCase();
      else if (option !== "COUNT") throw new RedisError("ERR syntax error");
    }
    const [next, keys] = await this.#redis.scan(0, "MATCH", pattern, "COUNT", EVERYTHING);
    const types = await Promise.all(keys.map((key) => this.#redis.type(key)));
    return [next, keys.filter((_, i) => !type || types[i] === type)];
  }

  async #eval([source = "", count = "", ...args]: string[]): Promise<Reply> {
    if (!INTEGER.test(count)) throw new RedisError(NOT_AN_INTEGER);
    if (Number(count) < 0) throw new RedisError("ERR Number of keys can't be negative");
    if (Number(count) > args.length) throw new RedisError("ERR Number of keys can't be greater than number of args");
    const now = asReply(await this.#run("TIME", []));
    if (!Array.isArray(now)) throw new TypeError("TIME answered no array");
    const json = await this.#redis.eval(LUA, Number(count), ...args, ...now.map(String), source);
    return fromJson(JSON.parse(String(json)));
  }

  async #script([subcommand = "", source = ""]: string[]): Promise<Reply> {
    if (subcommand.toUpperCase() !== "LOAD")
      throw new RedisError(`ERR unknown subcommand '${subcommand}'. Try SCRIPT HELP.`);
    // Compiles and does not run it, as Redis does.
    return this.#eval([
      `return load(ARGV[1]) and "OK" or { err = "ERR Error compiling script (new function)" }`,
      "0",
      source,
    ]);
  }
}

function zaddArguments([key = "", ...rest]: string[]): string[] {
  const isOption = (word: string) => /^(nx|xx|gt|lt|ch|incr)$/i.test(word);
  const end = rest.findIndex((word) => !isOption(word));
  const options = rest.slice(0, Math.max(end, 0)).map((word) => word.toUpperCase());
  if (options.includes("GT") || options.includes("LT"))
    throw new RedisError("ERR ioredis-mock: ZADD takes no GT or LT");
  return [key, ...options, ...rest.slice(options.length)];
}

function asReply(value: unknown): Reply {
  if (Array.isArray(value)) return value.map(asReply);
  if (Buffer.isBuffer(value) || typeof value === "string" || typeof value === "number") return value;
  if (value === null || value === undefined) return null;
  if (typeof value === "boolean") return Number(value);
  return Object.entries(value).flat().map(asReply); // HGETALL, as ioredis gives it
}

/** What mock.lua makes of a script's result. */
function fromJson(value: unknown): Reply {
  if (Array.isArray(value)) return value.map(fromJson);
  if (typeof value === "object" && value !== null && "err" in value) return new RedisError(String(value.err));
  return asReply(value);
}
