import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { hide } from "../support/canaries.ts";
import { collectDying, logged } from "../support/instance.ts";
import { promises } from "./ledger.ts";

const program = fileURLToPath(new URL("./main.ts", import.meta.url));

/** How what the clients say begins, and what the agent answers. */
const said = [
  ...["goodbye ", "order 1042 for ", "order 1043 for ", "refund for ", "think of ", "silence for ", "secret of "],
  ...["two\r\nlines of ", "stranger ", "old question", "You said: "],
];

it("keeps every promise while all that may happen around it does", async () => {
  const folder = await mkdtemp(join(tmpdir(), "scalai-chaos-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const log = join(folder, "log");
  const size = ["--seed", "7", "--sends", "80", "--chats", "12", "--clients", "12", "--instances", "2", "--log", log];
  // Other parties and lost primaries are left out: they need thousands of sends to have an effect.
  size.push("--without", "strangers,old,failovers");
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...size]).catch((failure) => failure);
  const found = stdout.split("\n").filter((line: string) => line.startsWith("!"));
  expect(found).toEqual([]);
  for (const promise of promises) expect(stdout).toMatch(new RegExp(`^${promise} +0$`, "m"));
  expect(stdout).toMatch(/^sends tried +80$/m);

  // At the end of the file these lines are searched for private texts, like those of any test.
  for (const content of said) hide({ content });
  collectDying(await readFile(log, "utf8"));
  expect(logged.length).toBeGreaterThan(200);
}, 400_000);
