import { parseArgs } from "node:util";

/** The kinds of value that a flag takes: how usage names one, what it must be, and how the text is read. */
const kinds = {
  text: { shown: "TEXT", must: "a text", parse: (text: string) => text || undefined },
  id: {
    shown: "ID",
    must: "24 hex digits",
    parse: (text: string) => (/^[0-9a-f]{24}$/i.test(text) ? text.toLowerCase() : undefined),
  },
  number: {
    shown: "N",
    must: "a whole number",
    parse: (text: string) => (/^\d{1,9}$/.test(text) ? Number(text) : undefined),
  },
  url: {
    shown: "URL",
    must: "a URL that begins with http:// or https://",
    parse: (text: string) => (/^https?:\/\//.test(text) && URL.canParse(text) ? text : undefined),
  },
  time: {
    shown: "TIME",
    must: "a time with an offset, such as 2026-11-30T12:00:00Z",
    // Without an offset it would be this machine's time zone.
    parse: (text: string) =>
      /T.*(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text)) ? Date.parse(text) : undefined,
  },
  path: { shown: "PATH", must: "a path", parse: (text: string) => text || undefined },
};

/** One flag of a command. */
export interface Flag {
  type: keyof typeof kinds | "boolean";
  /** Begins with a small letter and has no full stop. */
  description: string;
  required?: true;
  default?: string | number;
}

export type Flags = Record<string, Flag>;

type ValueOf<F extends Flag> = F["type"] extends "boolean"
  ? boolean
  : F["type"] extends "number" | "time"
    ? number
    : string;
type IsAlwaysThere = { type: "boolean" } | { required: true } | { default: string | number };

/** What a command gets: a value for each flag; undefined where one was not given and has no default. */
export type Values<F extends Flags> = {
  [Name in keyof F]: F[Name] extends IsAlwaysThere ? ValueOf<F[Name]> : ValueOf<F[Name]> | undefined;
};

/** Where a command works. */
export interface Target {
  /** One line for the operator: stage, hosts and databases, never a password. */
  name: string;
  /** Whether it belongs to the `npm start` on this machine: then a command that writes does not ask. */
  isOwn: boolean;
}

/** A command: its flags, and what it does. */
export interface Command<F extends Flags = Flags> {
  /** What `--help` says besides the command's own line. */
  details?: string;
  flags: F;
  /** What may be given without a flag, as usage shows it. */
  operands?: { usage: string; atMost: number };
  /** Named on stderr before `run`. */
  target?(values: Values<F>): Promise<Target>;
  /** Why these values cannot be used together; undefined if they can. */
  refuse?(values: Values<F>, operands: string[]): string | undefined;
  /** False: the exit code is 1. */
  // biome-ignore lint/suspicious/noConfusingVoidType: most commands return nothing
  run(values: Values<F>, operands: string[]): Promise<boolean | void>;
}

/** Infers the types of the values from the flags. */
export const defineCommand = <const F extends Flags>(command: Command<F>): Command<F> => command;

/** The flags of every command that writes: with them it asks before it writes, and `dry-run` must write nothing. */
export const writeFlags = {
  "dry-run": { type: "boolean", description: "print what would be written, and write nothing" },
  yes: { type: "boolean", description: "write without asking first" },
} as const satisfies Flags;

const help: Flags = { help: { type: "boolean", description: "print this" } };

/** How a command is called, and its one line in the list. */
export interface Named {
  /** As typed: `npm run ops -- doctor`. */
  call: string;
  says: string;
}

/**
 * Reads the arguments of a command.
 *
 * @returns `help` when `--help` is among them, whatever the others are.
 * @throws  An Error of one line for an unknown flag, a wrong or missing value, or an operand too many.
 */
export function parse<F extends Flags>(
  { call }: Named,
  command: Command<F>,
  args: string[],
): "help" | { values: Values<F>; operands: string[] } {
  if (args.includes("--help")) return "help";
  const given = split(call, command, args);
  const values: Record<string, unknown> = {};
  for (const [name, flag] of Object.entries<Flag>(command.flags)) {
    const text = given.values[name];
    if (flag.type === "boolean") values[name] = text === true;
    else if (typeof text === "string") values[name] = readValue(call, name, flag.type, text);
    else values[name] = flag.default;
  }
  for (const [name, flag] of Object.entries<Flag>(command.flags)) {
    if (flag.required && values[name] === undefined) throw refusal(call, `${withValue(name, flag)} is missing`);
  }
  const reason = command.refuse?.(values as Values<F>, given.positionals);
  if (reason) throw refusal(call, reason);
  return { values: values as Values<F>, operands: given.positionals };
}

/** @throws An Error of one line for what is no flag of the command, and for an operand too many. */
function split(call: string, { flags, operands }: Pick<Command, "flags" | "operands">, args: string[]) {
  const options = Object.fromEntries(
    Object.entries(flags).map(([name, { type }]) => [name, { type: type === "boolean" ? type : "string" } as const]),
  );
  const { values, positionals, tokens } = parseArgs({ args, options, strict: false, tokens: true });
  for (const token of tokens) {
    if (token.kind !== "option") continue;
    const flag = flags[token.name];
    if (!flag) throw refusal(call, `there is no flag ${token.rawName}`);
    const isSwitch = flag.type === "boolean";
    if (isSwitch && token.value !== undefined) throw refusal(call, `${token.rawName} takes no value`);
    const isMissing = token.value === undefined || (!token.inlineValue && token.value.startsWith("-"));
    if (!isSwitch && isMissing) throw refusal(call, `${token.rawName} needs a value`);
  }
  const extra = positionals[operands?.atMost ?? 0];
  if (extra !== undefined) throw refusal(call, `${extra} is one argument too many`);
  return { values, positionals };
}

function readValue(call: string, name: string, type: keyof typeof kinds, text: string): string | number {
  const value = kinds[type].parse(text);
  if (value === undefined) throw refusal(call, `--${name} must be ${kinds[type].must}`);
  return value;
}

const refusal = (call: string, reason: string) => new Error(`${call}: ${reason}; --help lists its flags`);

const withValue = (name: string, { type }: Flag) =>
  type === "boolean" ? `--${name}` : `--${name} ${kinds[type].shown}`;

/** What `--help` prints. */
export function helpOf<F extends Flags>({ call, says }: Named, { flags, operands, details }: Command<F>): string {
  const usage = Object.entries<Flag>(flags).map(([name, flag]) =>
    flag.required ? withValue(name, flag) : `[${withValue(name, flag)}]`,
  );
  const rows = Object.entries<Flag>({ ...flags, ...help }).map(([name, flag]) => [
    withValue(name, flag),
    `${flag.description}${flag.default === undefined ? "" : ` (default: ${flag.default})`}`,
  ]);
  const width = Math.max(...rows.map(([left = ""]) => left.length));
  return [
    [call, operands?.usage, ...usage].filter(Boolean).join(" "),
    "",
    `${says.charAt(0).toUpperCase()}${says.slice(1)}.${details ? `\n${details}` : ""}`,
    "",
    ...rows.map(([left = "", right]) => `  ${left.padEnd(width)}  ${right}`),
  ].join("\n");
}
