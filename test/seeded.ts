/** Runs Vitest with `--seed N`, which it does not know, as the variable SEED. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const args = process.argv.slice(2);
const at = args.indexOf("--seed");
const [, seed] = at < 0 ? [] : args.splice(at, 2);
if (at >= 0 && !/^\d{1,9}$/.test(seed ?? "")) throw new Error("--seed needs a whole number");

const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url));
const env = { ...process.env, ...(seed === undefined ? {} : { SEED: seed }) };
const [code] = await once(spawn(process.execPath, [vitest, ...args], { stdio: "inherit", env }), "exit");
process.exitCode = code ?? 1;
