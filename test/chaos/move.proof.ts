import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { promises } from "./ledger.ts";

const program = fileURLToPath(new URL("./main.ts", import.meta.url));

it("loses nothing and doubles nothing while a tenant is moved to another cluster, and back, under load", async () => {
  const size = [
    "--seed",
    "11",
    "--sends",
    "200",
    "--chats",
    "16",
    "--clients",
    "12",
    "--instances",
    "2",
    "--moves",
    "3",
  ];
  size.push("--without", "strangers,old,failovers,oddities");
  const env = { ...process.env, PERMISSION_CACHE_SECONDS: "2" }; // for which a move waits
  const { stdout } = await promisify(execFile)(process.execPath, [program, ...size], { env }).catch(
    (failure) => failure,
  );
  expect(stdout.split("\n").filter((line: string) => line.startsWith("!"))).toEqual([]);
  for (const promise of promises) expect(stdout).toMatch(new RegExp(`^${promise} +0$`, "m"));
  expect(stdout).toMatch(/^ {2}moves +3$/m);
}, 400_000);
