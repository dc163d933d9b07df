import { spawn } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import type { Command, Named } from "./command.ts";

/** One subcommand: its line in the list, and where its code is. The name may be two words. */
export type Row = { says: string } & (
  | {
      /** A module that exports a `command`; imported only when it is run, after the group's settings were read. */
      load(): Promise<{ command: Command }>;
    }
  | {
      /** A program that reads its own flags: a file for Node, then its first arguments. */
      program: readonly [file: URL, ...args: string[]];
    }
);

/** The subcommands of one npm script. */
export interface Group {
  /** As typed: `npm run ops`. */
  script: string;
  rows: Record<string, Row>;
  /** Reads the settings before a command's modules are imported. */
  prepare?(): Promise<void> | void;
}

/** Runs the subcommand that the arguments name; without one, lists all. */
export async function dispatch(group: Group, args = process.argv.slice(2)): Promise<void> {
  const [name, row] = find(group, args);
  if (!row) {
    const isList = args.length === 0 || args[0] === "--help";
    if (isList) console.log(listOf(group));
    else console.error(`${group.script}: there is no command ${args[0]}; ${group.script} lists them`);
    process.exitCode = isList ? 0 : 1;
    return;
  }
  const rest = args.slice(name.split(" ").length);
  if ("program" in row) {
    process.exitCode = await run(row.program, rest);
    return;
  }
  const { runCommand } = await import("./run-command.ts");
  await runCommand(namedIn(group, name), rest, async () => {
    await group.prepare?.();
    return (await row.load()).command;
  });
}

/** How a subcommand is called. */
export const namedIn = ({ script, rows }: Group, name: string): Named => ({
  call: `${script} -- ${name}`,
  says: rows[name]?.says ?? "",
});

/** The list of all subcommands. */
export function listOf({ script, rows }: Group): string {
  const width = Math.max(...Object.keys(rows).map(({ length }) => length));
  return [
    `${script} -- <command> [flags]; --help after a command lists its flags`,
    "",
    ...Object.entries(rows).map(([name, { says }]) => `  ${name.padEnd(width)}  ${says}`),
  ].join("\n");
}

function find({ rows }: Group, args: string[]): [string, Row | undefined] {
  for (const words of [2, 1]) {
    const name = args.slice(0, words).join(" ");
    if (Object.hasOwn(rows, name)) return [name, rows[name]];
  }
  return ["", undefined];
}

/** Runs a program with our streams, and passes on the signals that end us. */
async function run([file, ...first]: readonly [URL, ...string[]], rest: string[]): Promise<number> {
  const child = spawn(process.execPath, [fileURLToPath(file), ...first, ...rest], { stdio: "inherit" });
  const ended = Promise.withResolvers<number>();
  child.once("error", ended.reject);
  child.once("exit", (code, signal) => ended.resolve(code ?? 128 + (signal ? constants.signals[signal] : 0)));
  for (const signal of ["SIGTERM", "SIGHUP"] as const) process.on(signal, () => child.kill(signal));
  process.on("SIGINT", () => {}); // a terminal sends it to the child too
  return ended.promise;
}
