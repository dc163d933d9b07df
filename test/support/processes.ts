import { execFileSync } from "node:child_process";
import { vi } from "vitest";

/** A process, as `ps` lists it. */
export interface Listed {
  pid: number;
  parent: number;
  /** Its process group. Ctrl-C in a terminal reaches one group. */
  group: number;
  args: string;
}

/** All descendants of a process. */
export function descendantsOf(ancestor: number): Listed[] {
  const listing = execFileSync("ps", ["-A", "-o", "pid=,ppid=,pgid=,args="], { encoding: "utf8" });
  const all = [...listing.matchAll(/^\s*(\d+)\s+(\d+)\s+(\d+)\s+(.*)$/gm)].map(([, pid, parent, group, args]) => ({
    pid: Number(pid),
    parent: Number(parent),
    group: Number(group),
    args: String(args),
  }));
  const family = [ancestor];
  for (const pid of family) family.push(...all.filter(({ parent }) => parent === pid).map((child) => child.pid));
  return all.filter(({ pid }) => pid !== ancestor && family.includes(pid) && !isListing(all, pid));
}

/** Whether it is the `ps` that this process has started. */
const isListing = (all: Listed[], pid: number) => all.some((one) => one.pid === pid && one.args.startsWith("ps -A"));

/** Kills a process. Without one it throws: the pid 0 would stand for our whole process group. */
export function killOne(found: Listed | undefined): void {
  if (!found) throw new Error("There is no such process");
  process.kill(found.pid, "SIGKILL");
}

/** Whether a process runs. A zombie does not count. */
export function isAlive(pid: number): boolean {
  try {
    return !execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).startsWith("Z");
  } catch {
    return false;
  }
}

/** Resolves when all of them have ended. */
export function gone(pids: number[]): Promise<void> {
  return vi.waitFor(
    () => {
      const left = pids.filter(isAlive);
      if (left.length > 0) throw new Error(`still alive: ${left.join(", ")}`);
    },
    { timeout: 20_000, interval: 20 },
  );
}
