import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { promises } from "../dev/chaos/ledger.ts";

const program = fileURLToPath(new URL("../dev/chaos.ts", import.meta.url));

it("keeps every promise while instances are killed and Mongo, Redis and Retell misbehave", async () => {
  const size = ["--seed", "7", "--sends", "200", "--chats", "30", "--clients", "24", "--instances", "2"];
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...size]).catch((failure) => failure);
  const found = stdout.split("\n").filter((line: string) => line.startsWith("!"));
  expect(found).toEqual([]);
  for (const promise of promises) expect(stdout).toMatch(new RegExp(`^${promise} +0$`, "m"));
  expect(stdout).toMatch(/^sends tried +200$/m);
}, 180_000);
