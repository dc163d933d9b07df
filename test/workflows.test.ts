import { execFile, spawnSync } from "node:child_process";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const folder = new URL("../.github/workflows/", import.meta.url);
const read = (file: string) => readFile(new URL(file, folder), "utf8");
const deploy = await read("deploy.yml");

let work: string;
beforeEach(async () => {
  work = await mkdtemp(join(tmpdir(), "workflow-"));
  await mkdir(join(work, "bin"));
});
afterEach(() => rm(work, { recursive: true }));

/** Replaces a program that a step runs by one that records its arguments. */
async function program(name: string, script: string): Promise<void> {
  await writeFile(join(work, "bin", name), `#!/bin/bash\n${script}\n`);
  await chmod(join(work, "bin", name), 0o755);
}

/** Runs the script of a step as GitHub does. */
async function step(name: string, env: NodeJS.ProcessEnv): Promise<{ code: number; said: string }> {
  const [, lines = ""] =
    new RegExp(`- name: ${name}.*\n(?: {8}.*\n)*? {8}run: \\|\n((?: {10}.*\n)+)`).exec(deploy) ?? [];
  expect(lines).not.toBe("");
  const { promise, resolve } = Promise.withResolvers<{ code: number; said: string }>();
  const options = { cwd: work, env: { PATH: [join(work, "bin"), process.env.PATH].join(delimiter), ...env } };
  const child = execFile("bash", ["--noprofile", "--norc", "-e", "-c", lines], options, (_error, stdout, stderr) =>
    resolve({ code: child.exitCode ?? -1, said: stdout + stderr }),
  );
  return promise;
}

const token = (days: number | undefined) => {
  const exp = days === undefined ? undefined : Math.floor(Date.now() / 1_000 + days * 86_400);
  return `e30.${Buffer.from(JSON.stringify({ exp })).toString("base64url")}.x`;
};

describe("a deployment to production", () => {
  it.each([
    ["1", 0],
    ["0", 1],
  ])("of a commit that has been through staging %s times ends with %s", async (runs, code) => {
    await program("gh", `echo "$@" >> asked; echo ${runs}`);
    const ended = await step("Production gets what staging runs", { GITHUB_SHA: "5ca1ab1e" });
    expect(ended.code).toBe(code);
    expect(await readFile(join(work, "asked"), "utf8")).toContain("--event push --commit 5ca1ab1e --status success");
  });

  it("does not go on where GitHub does not answer", async () => {
    await program("gh", "exit 4");
    expect((await step("Production gets what staging runs", { GITHUB_SHA: "5ca1ab1e" })).code).not.toBe(0);
  });
});

describe("the smoke test's token", () => {
  it.each([
    ["is good", token(100), 0, /^$/],
    ["is over in days, so that somebody renews it", token(13.5), 0, /^::warning::SMOKE_TOKEN is over in 13 days/],
    ["is over", token(-3), 1, /^::error::SMOKE_TOKEN/],
    ["never ends, which the API refuses", token(undefined), 1, /^::error::SMOKE_TOKEN/],
    ["is none", "", 1, /^::error::SMOKE_TOKEN/],
  ])("%s: known before anything is deployed", async (_what, SMOKE_TOKEN, code, says) => {
    const ended = await step("The smoke test's token", { SMOKE_TOKEN, STAGE: "staging" });
    expect(ended).toEqual({ code, said: expect.stringMatching(says) });
    expect(deploy.indexOf("name: The smoke test's token")).toBeLessThan(deploy.indexOf("infra/release.ts"));
  });
});

describe("a build of an earlier run", () => {
  /** A run whose id ends in 9 is of a commit that is not on main. */
  const runs = "39 33 29 22 11";
  const builds = async (rollback: string, known = runs) => {
    const list = `for id in ${known}; do echo $id sha$id; done`;
    const compare = "[[ $2 == */sha*9...main ]] && echo diverged || echo ahead";
    await program("gh", `echo "$@" >> asked; if [[ $1 == run ]]; then ${list}; else ${compare}; fi`);
    const env = {
      GITHUB_OUTPUT: join(work, "output"),
      GH_REPO: "o/r",
      EVENT: "workflow_dispatch",
      ROLLBACK: rollback,
    };
    const { code, said } = await step("Builds of earlier runs", env);
    expect(await readFile(join(work, "asked"), "utf8")).toMatch(/--event workflow_dispatch --status success/);
    return { code, said, output: await readFile(join(work, "output"), "utf8").catch(() => "") };
  };

  it.each([
    ["of the last success is what a deployment goes back to", "", runs, "previous=33\n"],
    ["is none before the first success", "", "", "previous=\n"],
    ["is, of `previous`, the one before the last success", "previous", runs, "again=22\n"],
    ["may be any that succeeded", "11", runs, "again=11\n"],
  ])("%s", async (_what, rollback, known, output) => {
    expect(await builds(rollback, known)).toEqual({ code: 0, said: "", output });
  });

  it.each([
    ["44", runs],
    ["2", runs],
    ["39", runs],
    ["previous", "39 33 29"],
    ["22; gh auth token", runs],
    ["*", runs],
  ])("is refused if it is none of them, or of a commit that is not on main: %s", async (rollback, known) => {
    const refused = { code: 1, said: expect.stringMatching(/^::error::/), output: "" };
    expect(await builds(rollback, known)).toEqual(refused);
  });

  it("is not taken for none where GitHub does not answer", async () => {
    await program("gh", "exit 4");
    const env = { GITHUB_OUTPUT: join(work, "output"), GH_REPO: "o/r", EVENT: "push", ROLLBACK: "" };
    expect((await step("Builds of earlier runs", env)).code).not.toBe(0);
  });

  it("needs no tests and no build, and this run keeps it", () => {
    const { test = "", build = "", deploy: job = "" } = jobsOf(deploy);
    for (const skipped of [test, build]) expect(skipped).toMatch(/if: \$\{\{ !inputs\.rollback \}\}/);
    expect(job).toMatch(/run-id: \$\{\{ needs\.tried\.outputs\.again \|\| github\.run_id \}\}/);
    expect(job).toMatch(/upload-artifact@.*\n +if: inputs\.rollback/);
  });
});

it.each([
  ["with the earlier build where there is one", true],
  ["alone where there is none", false],
])("the release gets the stage and its smoke test's tenant, %s", async (_what, isThere) => {
  if (isThere) await mkdir(join(work, "previous/infra"), { recursive: true });
  await program("node", 'printf "%s\\n" "$@"');
  const env = { STAGE: "staging", SUBACCOUNT: "s", AGENT: "a", RUNNER_TEMP: work };
  const { said } = await step("Release", env);
  expect(said.trimEnd().split("\n")).toEqual([
    ...["infra/release.ts", "--stage", "staging", "--subaccount", "s", "--agent", "a"],
    ...(isThere ? ["--previous", join(work, "previous")] : []),
  ]);
});

it("the scheduled smoke test has an environment of its own, and its packages run no install scripts", async () => {
  const smoke = await read("smoke.yml");
  expect(smoke).toContain("environment: smoke\n");
  for (const [command] of smoke.matchAll(/npm (ci|install|i)\b.*/g)) expect(command).toContain("--ignore-scripts");
  expect(smoke).not.toContain("id-token");
});

it("the role in AWS trusts one environment of one repository", async () => {
  const role = await readFile(new URL("../infra/ci-role.yaml", import.meta.url), "utf8");
  expect(role).toMatch(/sub: !Sub "repo:\$\{Repository\}:environment:\$\{Stage\}"\n/);
  expect(role).not.toContain("StringLike");
  expect(role).toContain('"servicequotas:GetServiceQuota"'); // infra/monitoring.ts asks for the account's concurrency
});

/** The jobs of a workflow: what stands under each. */
const jobsOf = (workflow: string) =>
  Object.fromEntries(
    (workflow.split(/^jobs:\n/m)[1] ?? "").split(/^(?= {2}\w)/m).map((job) => [/^ *(\w+)/.exec(job)?.[1], job]),
  );

it("one job may take on the role in AWS, and neither it nor one with secrets installs, builds or uses a cache", async () => {
  const { deploy: job = "", build = "", ...others } = jobsOf(deploy);
  expect(deploy.match(/id-token: write/g)).toHaveLength(1);
  expect(job).toContain("id-token: write");
  expect(job).not.toMatch(/npm (ci|install|i)\b|npm run build|cache:|actions\/checkout/);
  for (const other of [build, ...Object.values(others)]) expect(other).not.toMatch(/secrets\.[A-Z]|id-token: /);

  // What it runs was installed by the lock file and without install scripts, in a job that hands it over.
  expect(build).toMatch(/npm ci --ignore-scripts\n(.*\n)*.*npm run build\n(.*\n)*.*upload-artifact@/);
  expect(job).toMatch(/needs: \[tried, test, build\]\n(.*\n)*.*download-artifact@(.*\n)*.*infra\/release\.ts/);
  expect(await readFile(new URL("../sst.config.ts", import.meta.url), "utf8")).toContain("process.env.PREBUILT");
});

it("Node is of one version wherever a workflow sets it up: the one in the lock file", async () => {
  const { optionalDependencies } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
  const versions = new Set(Object.values(optionalDependencies));
  expect([...versions]).toEqual([expect.stringMatching(/^24\.\d+\.\d+$/)]);
  for (const file of await readdir(folder)) {
    for (const [, version] of (await read(file)).matchAll(/node-version: (.*)/g)) expect(versions).toContain(version);
  }
});

it("every package in the lock file has its hash, and one alone runs an install script", async () => {
  const lock = JSON.parse(await readFile(new URL("../package-lock.json", import.meta.url), "utf8"));
  // Not the project itself and its own packages, which come with it.
  const packages = Object.entries<{ link?: true; integrity?: string; hasInstallScript?: boolean }>(lock.packages)
    .filter(([name]) => name.includes("node_modules/"))
    .filter(([, { link }]) => !link);
  expect(packages.filter(([, { integrity }]) => !/^sha512-/.test(integrity ?? "")).map(([name]) => name)).toEqual([]);
  // esbuild's only checks its binary, which is a package with a hash of its own. Another package's must be refused.
  const { allowScripts } = JSON.parse(await readFile(new URL("../package.json", import.meta.url), "utf8"));
  const scripted = packages.filter(([, { hasInstallScript }]) => hasInstallScript).map(([name]) => name);
  const run = scripted.filter((name) => allowScripts[name.replace("node_modules/", "")] !== false);
  expect(run).toEqual(["node_modules/esbuild"]);
});

it.each([
  ["no finding", '{"metadata":{"vulnerabilities":{"low":0,"total":0}}}', 0, ""],
  ["a finding of any weight", '{"metadata":{"vulnerabilities":{"low":1,"total":1}}}', 1, ""],
  ["many findings", '{"metadata":{"vulnerabilities":{"low":0,"total":10}}}', 1, ""],
  ["no answer", '{"error":{"code":"E405"}}', 0, "npm audit: the registry does not answer"],
  ["nothing at all", "", 0, "npm audit: the registry does not answer"],
])(".ci/run audits all packages: %s", async (_what, answer, code, skipped) => {
  const script = await readFile(new URL("../.ci/run", import.meta.url), "utf8");
  const functions = [...script.matchAll(/^(?:skip|audit|summary)\(\) \{\n[\s\S]*?^\}$/gm)].map(([text]) => text);
  await program("npm", `echo "$@" > asked; echo '${answer}'; exit 1`);
  await writeFile(
    join(work, "run"),
    `set -euo pipefail; passed=1 failed=0 failures="" skipped=""\n${functions.join("\n")}\naudit || failed=1\nsummary`,
  );
  const env = { ...process.env, PATH: [join(work, "bin"), process.env.PATH].join(delimiter) };
  const child = spawnSync("bash", ["run"], { cwd: work, env, encoding: "utf8" });
  expect(await readFile(join(work, "asked"), "utf8")).toMatch(/^audit --json (?!.*omit)/);
  expect([child.status, child.stdout.trimEnd().split("\n").at(-1)]).toEqual([code, `1 passed, ${code} failed`]);
  const [, atTheEnd = ""] = /What was skipped:\n(.*)\n/.exec(child.stdout) ?? [];
  expect(atTheEnd).toBe(skipped);
});

it("every action is one commit, not whatever its tag comes to name", async () => {
  for (const file of await readdir(folder)) {
    for (const [, action] of (await read(file)).matchAll(/uses: ([^.\s]\S*)/g))
      expect(action).toMatch(/@[0-9a-f]{40}$/);
  }
});

it("test runs of pushes and of a deployment by hand do not push one another out", async () => {
  expect(/concurrency:\n {2}group: (.*)/.exec(await read("test.yml"))?.[1]).toContain("github.event_name");
});
