/**
 * `npm run prove`: the proofs, which take too long to run after every change. Without a name it lists them;
 * `npm run prove -- NAME` runs one, and passes on what follows.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

interface Row {
  says: string;
  program: readonly [file: URL, ...args: string[]];
}

const vitest = new URL("../node_modules/vitest/vitest.mjs", import.meta.url);
const proof = (says: string, ...files: string[]): Row => ({
  says,
  program: [vitest, "run", "--config", "vitest.proofs.config.ts", ...files],
});

export const rows: Record<string, Row> = {
  failures: proof(
    "every failure of MongoDB, Redis and Retell, against docs/failures.md; 4 min",
    "test/failures.proof.ts",
  ),
  outages: proof(
    "MongoDB hangs or refuses, each deadline in real time; 1 min",
    "test/outages-mongo.proof.ts",
    "test/overtaken.proof.ts",
  ),
  failover: proof("kills primaries, and looks for what was acknowledged; 2 min", "test/failover/"),
  "chaos short": proof("80 sends while everything misbehaves; 2 min", "test/chaos/chaos.proof.ts"),
  model: proof("every order of steps and deaths of the turn protocol; 3 min", "test/model/model.proof.ts"),
  large: proof("chats of 9 MB, and histories that do not fit into a document; 1 min", "test/large-chats.proof.ts"),
  start: proof("npm start in real processes, and the ways it ends; 2 min", "test/start.proof.ts"),
  heap: proof("an instance's heap does not grow with its requests; 1 min", "test/heap.proof.ts"),
  packages: proof("packs each package, and uses it from an empty folder; 1 min", "packages/"),
  crash: proof("kills a request before and after each outward call; 4 min", "test/crash/crash.proof.ts"),
  guards: proof("removes each line that keeps a promise: its test must fail; 4 min", "test/guards/guards.proof.ts"),
  all: proof("all of these; 20 min"),
  chaos: {
    says: "the same of any size, such as --sends 10000 --seed 7; not one of all",
    program: [new URL("chaos/main.ts", import.meta.url)],
  },
};

function main(args: string[]): number {
  const name = args.slice(0, 2).join(" ") in rows ? args.slice(0, 2).join(" ") : (args[0] ?? "");
  const rest = args.slice(name.split(" ").length);
  const row = rows[name];
  if (!row) {
    const width = Math.max(...Object.keys(rows).map(({ length }) => length));
    console.log(
      Object.entries(rows)
        .map(([name, { says }]) => `  ${name.padEnd(width)}  ${says}`)
        .join("\n"),
    );
    return name === "" ? 0 : 1;
  }
  const [file, ...first] = row.program;
  return spawnSync(process.execPath, [fileURLToPath(file), ...first, ...rest], { stdio: "inherit" }).status ?? 1;
}

if (import.meta.main) process.exitCode = main(process.argv.slice(2));
