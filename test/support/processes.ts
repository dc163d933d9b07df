import { execFileSync } from "node:child_process";
import { vi } from "vitest";

/** A process, as `ps` lists it. */
export interface Listed {
  pid: number;
  parent: number;
  /** Its process group: what Ctrl-C in a terminal reaches is one of these. */
  group: number;
  args: string;
}

/** Everything that a process has started, and what that has started. */
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

/** `ps` itself, when the ancestor is the process that asks. */
const isListing = (all: Listed[], pid: number) => all.some((one) => one.pid === pid && one.args.startsWith("ps -A"));

/** Whether a process is there. One that is dead and not yet collected by its parent is not. */
export function isAlive(pid: number): boolean {
  try {
    return !execFileSync("ps", ["-o", "stat=", "-p", String(pid)], { encoding: "utf8" }).startsWith("Z");
  } catch {
    return false;
  }
}

/** Resolves once all of them are gone. */
export function gone(pids: number[]): Promise<void> {
  return vi.waitFor(
    () => {
      const left = pids.filter(isAlive);
      if (left.length > 0) throw new Error(`still alive: ${left.join(", ")}`);
    },
    { timeout: 20_000, interval: 20 },
  );
}
