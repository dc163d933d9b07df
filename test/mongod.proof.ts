import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, expect, test } from "vitest";
import { folder } from "./support/folder.ts";
import { note, notes, start } from "./support/mongods.ts";
import { descendantsOf, gone, killOne } from "./support/processes.ts";

describe("a mongod of ours", () => {
  test("that was killed is reported, and starts again with what it had acknowledged", async () => {
    const exits: string[] = [];
    const first = await start({ dbPath: folder, onExit: (reason) => exits.push(reason) });
    await note(first.url, "acknowledged");
    process.kill(first.pid, "SIGKILL");
    await expect.poll(() => exits).toEqual(["signal SIGKILL"]);
    expect(await readFile(join(folder, "mongod.lock"), "utf8")).not.toBe("");

    const { url } = await start({ dbPath: folder });
    expect(await notes(url)).toEqual(["acknowledged"]);
  });
});

describe("nothing is left behind", () => {
  const program = `
    import { startMongod } from ${JSON.stringify(new URL("../dev/mongod.ts", import.meta.url).href)};
    console.log(JSON.stringify(await startMongod()));`;

  async function parent() {
    const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
      env: { ...process.env, TMPDIR: folder },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const [line] = await once(createInterface(child.stdout), "line");
    const [data = ""] = await readdir(folder);
    return { child, pid: Number(JSON.parse(line).pid), data: join(folder, data) };
  }

  test("when the parent is killed: neither mongod nor its keeper nor the temporary data", async () => {
    const { child, pid, data } = await parent();
    await access(data);
    const family = descendantsOf(child.pid ?? 0).map((process) => process.pid);
    expect(family).toContain(pid);
    expect(family).toHaveLength(2);

    child.kill("SIGKILL");
    await gone(family);
    await expect(access(data)).rejects.toThrow("ENOENT");
  });

  test("when the keeper is killed: the parent sees to mongod", async () => {
    const { child, pid, data } = await parent();
    const keeper = descendantsOf(child.pid ?? 0).find(({ args }) => args.includes("keeper.ts"));
    killOne(keeper);
    await gone([pid]);
    await expect.poll(() => access(data).catch(({ code }) => code)).toBe("ENOENT");
    child.kill("SIGKILL");
  });
});
