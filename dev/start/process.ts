import { execFileSync } from "node:child_process";

/** Whether there is a process with this pid. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM"; // it exists, and belongs to another user
  }
}

/** The command line and the parent of a process, if this system's `ps` shows them. */
export function aboutProcess(pid: number): { args: string; parent: number } | undefined {
  try {
    const line = execFileSync("ps", ["-o", "ppid=,args=", "-p", String(pid)], { encoding: "utf8", stdio: "pipe" });
    const [, parent, args = ""] = /^\s*(\d+)\s+(.*)/.exec(line) ?? [];
    return parent ? { args, parent: Number(parent) } : undefined;
  } catch {
    return undefined; // no `ps` here, or no such process
  }
}
