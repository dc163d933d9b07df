import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

const PACKAGE = join(import.meta.dirname, "..");
const { version, devDependencies } = JSON.parse(await readFile(join(PACKAGE, "package.json"), "utf8"));

/** An empty folder, into which the package is installed as it is published. */
let folder: string;
const run = async (command: string, args: string[], cwd = folder) => {
  const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
  return (await promisify(execFile)(command, args, { cwd, env })).stdout;
};
const write = (name: string, text: string) => writeFile(join(folder, name), text);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "retell-simulator-pack-"));
  const tarball = (await run("npm", ["pack", "--silent", "--pack-destination", folder], PACKAGE))
    .trim()
    .split("\n")
    .at(-1);
  await write("package.json", JSON.stringify({ name: "consumer", private: true, type: "module" }));
  const others = ["retell-sdk", "typescript", "@types/node"].map((name) => `${name}@${devDependencies[name]}`);
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", `./${tarball}`, ...others]);
});
afterAll(() => rm(folder, { recursive: true }));

describe("the published package", () => {
  test("has nothing but the build, the README and one dependency", async () => {
    const [{ files }] = JSON.parse(await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], PACKAGE));
    const names = files.map(({ path }: { path: string }) => path.replace(/^dist\/[\w-]+\.(js|d\.ts)$/, "dist"));
    expect([...new Set(names)].sort()).toEqual(["README.md", "dist", "package.json"]);
    const { dependencies } = JSON.parse(await run("npm", ["ls", "--json", "--all", "retell-simulator", "zod"]));
    expect(Object.keys(dependencies["retell-simulator"].dependencies)).toEqual(["zod"]);
  });

  test("runs as a program that the SDK can call", async () => {
    expect(await run("npx", ["retell-simulator", "--version"])).toBe(`${version}\n`);
    const child = spawn(join(folder, "node_modules/.bin/retell-simulator"), ["--port", "0"], { stdio: "pipe" });
    const [greeting] = await once(createInterface(child.stdout), "line");
    const [url] = /http:\/\/[\d.:]+/.exec(greeting) ?? [];
    await write(
      "call.js",
      `import { Retell } from "retell-sdk";
       const { chat } = new Retell({ apiKey: "key_test", baseURL: "${url}" });
       const { chat_id } = await chat.create({ agent_id: "agent_quiet" });
       const { messages } = await chat.createChatCompletion({ chat_id, content: "ping" });
       console.log(messages[0].content);`,
    );
    expect(await run("node", ["call.js"])).toBe("You said: ping (message 1)\n");
    child.kill("SIGTERM");
    expect(await once(child, "exit")).toEqual([0, null]);
  });

  test("runs the README's example, and can be required", async () => {
    const readme = await readFile(join(folder, "node_modules/retell-simulator/README.md"), "utf8");
    await write("example.test.js", /```js\n(import .*?)```/s.exec(readme)?.[1] ?? "");
    expect(await run("node", ["--test", "--test-reporter=tap", "example.test.js"])).toMatch(/^# pass 1$/m);
    await write(
      "required.cjs",
      `require("retell-simulator").startRetellSimulator().then(({ url, stop }) => stop().then(() => console.log(url)));`,
    );
    expect(await run("node", ["required.cjs"])).toMatch(/^http:/);
  });

  test.each([
    ["NodeNext", "NodeNext"],
    ["ESNext", "Bundler"],
  ])("has types that a strict consumer compiles, with module %s", async (module, moduleResolution) => {
    await write(
      "consumer.ts",
      `import { type RetellSimulator, startRetellSimulator } from "retell-simulator";
       const simulator: RetellSimulator = await startRetellSimulator({ port: 0, stateFile: undefined, seed: 1 });
       const url: string = simulator.url + simulator.control;
       // @ts-expect-error: a port is a number
       await startRetellSimulator({ port: url });
       await simulator.stop();`,
    );
    const options = [
      "--module",
      module,
      "--moduleResolution",
      moduleResolution,
      "--target",
      "ES2023",
      "--types",
      "node",
    ];
    await run("npx", ["tsc", "--strict", "--exactOptionalPropertyTypes", "--noEmit", ...options, "consumer.ts"]);
  });
});
