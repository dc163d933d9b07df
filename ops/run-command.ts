import { type Command, helpOf, type Named, parse } from "./command.ts";
import { whyNot } from "./failure.ts";
import { confirmWrite } from "./target.ts";

/**
 * Runs a command: reads its flags, names its target, asks before a write, and closes what it opened. An error is one
 * line on stderr, without a stack, and exit code 1.
 */
export async function runCommand(named: Named, args: string[], load: () => Promise<Command>): Promise<void> {
  try {
    if (!(await runLoaded(named, args, await load()))) process.exitCode = 1;
  } catch (error) {
    console.error(whyNot(error));
    process.exitCode = 1;
  } finally {
    const { closeAll } = await import("../lib/platform/mongo.ts");
    await closeAll();
  }
}

async function runLoaded(named: Named, args: string[], command: Command): Promise<boolean> {
  const parsed = parse(named, command, args);
  if (parsed === "help") {
    console.log(helpOf(named, command));
    return true;
  }
  const { values, operands } = parsed;
  const writes = "yes" in command.flags && !values["dry-run"];
  const target = await command.target?.(values);
  if (target) console.error(`${target.name}${values["dry-run"] ? "; dry run, nothing is written" : ""}`);
  if (target && writes) await confirmWrite(target, Boolean(values.yes));
  return (await command.run(values, operands)) !== false;
}
