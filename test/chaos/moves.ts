import { execFile } from "node:child_process";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { demo } from "../../dev/seed/demo.ts";
import { Dice } from "./dice.ts";

const ops = fileURLToPath(new URL("../../ops/main.ts", import.meta.url));
/** How long a move lives that is killed, at least and at most: a whole one takes some five seconds. */
const killedMs = [300, 6_000] as const;

interface Moves {
  /** Moves that have begun. */
  begun: number;
  /** Begins the next move, unless one is under way or there were enough. */
  begin(atMost: number): void;
  /** Resolves when none is under way. Rejects when one has failed. */
  done(): Promise<void>;
  /** The cluster that the tenant is on. */
  url(): string;
  /** Its database there. */
  name(): string;
  troubles: Record<string, number>;
}

interface Route {
  seed: number;
  /** The central cluster, where the tenant is at first. */
  home: string;
  away: string;
  /** Its first database. */
  database: string;
}

/** Moves the demo tenant between two clusters by `subaccount move`, which is killed half of the time, and repeated. */
export function movesOf({ seed, home, away, database }: Route): Moves {
  const dice = new Dice(seed, "moves");
  const troubles = { moves: 0, "moves killed": 0, "slowest move, ms without requests": 0 };
  let isAway = false;
  let name = database;
  let under = Promise.resolve();

  async function move(number: number): Promise<void> {
    const [goesAway, newName] = [!isAway, `${database}_moved_${number}`];
    const args = ["--subaccount", demo.subaccountId, "--database", newName, ...(goesAway ? [] : ["--central-cluster"])];
    const env: Record<string, string> = goesAway ? { SUBACCOUNT_MONGODB_URL: away } : {};
    if (dice.chance(0.5)) {
      const { child } = run(args, env);
      await delay(dice.between(...killedMs));
      if (child.exitCode === null) troubles["moves killed"] += 1;
      child.kill("SIGKILL");
    }
    const { code, stdout, stderr } = await run(args, env).ended;
    // The one that was to be killed may have finished before.
    if (code !== 0 && !stderr.includes("It is there already")) throw new Error(`subaccount move: ${stdout}${stderr}`);
    const [, seconds = "0"] = /refused for ([\d.]+) s/.exec(stdout) ?? [];
    const slowest = Math.max(troubles["slowest move, ms without requests"], Number(seconds) * 1_000);
    Object.assign(troubles, { moves: number, "slowest move, ms without requests": slowest });
    [isAway, name] = [goesAway, newName];
  }

  const moves: Moves = {
    begun: 0,
    begin(atMost) {
      if (moves.begun >= atMost) return;
      moves.begun += 1;
      const number = moves.begun;
      under = under.then(() => move(number));
      under.catch(() => {}); // `done` rejects
    },
    done: () => under,
    url: () => (isAway ? away : home),
    name: () => name,
    troubles,
  };
  return moves;
}

/** Runs the command with this process's environment, which goes past the bad network. */
function run(args: string[], env: Record<string, string>) {
  const ended = Promise.withResolvers<{ code: number; stdout: string; stderr: string }>();
  const child = execFile(
    process.execPath,
    [ops, "subaccount", "move", ...args, "--yes"],
    { env: { ...process.env, ...env } },
    (_error, stdout, stderr) => ended.resolve({ code: child.exitCode ?? -1, stdout, stderr }),
  );
  return { child, ended: ended.promise };
}
