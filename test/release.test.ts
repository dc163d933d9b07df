import { execFile } from "node:child_process";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, it } from "vitest";

const release = fileURLToPath(new URL("../infra/release.ts", import.meta.url));

let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), "release-"));
});
afterEach(() => rm(work, { recursive: true }));

/** A build whose programs note what they are asked, and fail when the note holds one of these words. */
async function aBuild(name: string, fails: string[]): Promise<string> {
  const folder = join(work, name);
  await mkdir(join(folder, "node_modules/.bin"), { recursive: true });
  await mkdir(join(folder, ".sst"));
  const outputs = `{"url":"https://${name}.example"}`;
  await writeFile(join(folder, ".sst/outputs.json"), fails.includes("outputs") ? outputs.slice(0, 9) : outputs);
  for (const program of ["sst", "node"]) {
    const path = join(folder, "node_modules/.bin", program);
    const lines = [`said="${name}: ${program} $*"`, `echo "$said" >> ${work}/asked`];
    for (const word of fails) lines.push(`[[ $said != *"${word}"* ]] || exit 1`);
    await writeFile(path, `#!/bin/bash\n${lines.join("\n")}\n`);
    await chmod(path, 0o755);
  }
  return folder;
}

interface Case {
  what: string;
  /** What fails of the new build, and of the one before; undefined: there is none. */
  fails: [string[], string[] | undefined];
  /** Each step that is taken, by the build and a word of it. */
  steps: string[];
  ends: [code: number, says: string];
}

const forward = ["new indexes", "new deploy", "new indexes", "new smoke"];
const back = ["old deploy", "old indexes", "old smoke"];

it.each<Case>([
  { what: "a build that works", fails: [[], []], steps: forward, ends: [0, "::notice::staging runs this build"] },
  {
    what: "a stage's first build",
    fails: [[], undefined],
    steps: forward.slice(1),
    ends: [0, "::notice::staging runs this build"],
  },
  {
    what: "indexes that cannot be created: nothing is deployed",
    fails: [["indexes"], []],
    steps: ["new indexes"],
    ends: [1, "::error::staging was not changed: its indexes could not be created"],
  },
  {
    what: "a smoke test that fails: the build before comes back",
    fails: [["smoke"], []],
    steps: [...forward, ...back],
    ends: [1, "::error::staging runs the previous build again: this one did not work"],
  },
  {
    what: "a deployment that stops halfway: the build before comes back",
    fails: [["sst deploy"], []],
    steps: ["new indexes", "new deploy", ...back],
    ends: [1, "::error::staging runs the previous build again: this one did not work"],
  },
  {
    what: "a deployment whose outputs cannot be read: the build before comes back",
    fails: [["outputs"], []],
    steps: [...forward.slice(0, 3), ...back],
    ends: [1, "::error::staging runs the previous build again: this one did not work"],
  },
  {
    what: "a smoke test that fails for both",
    fails: [["smoke"], ["smoke"]],
    steps: [...forward, ...back],
    ends: [1, "::error::staging may be broken: neither this build nor the previous one works"],
  },
  {
    what: "a first build that does not work",
    fails: [["smoke"], undefined],
    steps: forward.slice(1),
    ends: [1, "::error::staging may be broken, and there is no previous build to go back to"],
  },
])("$what", async ({ fails, steps, ends }) => {
  const cwd = await aBuild("new", fails[0]);
  const previous = fails[1] && (await aBuild("old", fails[1]));
  await writeFile(join(cwd, ".env"), "CORS_ORIGINS=*, https://app.example\n");
  const flags = ["--stage", "staging", "--subaccount", "s", "--agent", "a"];
  const given = [release, ...flags, ...(previous ? ["--previous", previous] : [])];
  const env = { PATH: process.env.PATH, SMOKE_TOKEN: "a-token" };
  const { promise, resolve } = Promise.withResolvers<[number, string]>();
  const child = execFile(process.execPath, given, { cwd, env }, (_error, stdout) =>
    resolve([child.exitCode ?? -1, stdout]),
  );
  const [code, stdout] = await promise;

  const asked = (await readFile(join(work, "asked"), "utf8")).trimEnd().split("\n");
  expect(asked.map((line) => line.replace(/^(\w+):.*\b(deploy|indexes|smoke)\b.*/, "$1 $2"))).toEqual(steps);
  expect([code, stdout.trimEnd().split("\n").at(-1)]).toEqual(ends);
  expect(stdout).not.toContain("a-token");
  for (const line of asked) {
    const build = line.slice(0, 3);
    const smoke = `${build}: node ops/main.ts smoke --url https://${build}.example --subaccount s --agent a`;
    if (line.includes("smoke")) expect(line).toBe(`${smoke} --origin https://app.example`);
    if (line.includes("indexes"))
      expect(line).toMatch(/^\w+: sst shell --stage staging -- node ops\/main\.ts indexes --yes /);
  }
});
