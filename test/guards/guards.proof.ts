/**
 * A guard is a line of the code that keeps a promise. Each is taken out of a copy of the sources, and there the test
 * that protects it must fail: by what it expects, not because the code no longer runs.
 */
import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, describe, expect, inject, it } from "vitest";
import * as z from "zod";
import { type Guard, guards } from "./guards.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const sources = [
  ...["lib", "functions", "infra", "ops", "dev", "packages", "test", "docs"],
  ...["package.json", "tsconfig.json", "vitest.config.ts"],
];
const vitest = join(root, "node_modules/vitest/vitest.mjs");

const Report = z.object({
  testResults: z.array(
    z.object({
      name: z.string(),
      assertionResults: z.array(
        z.object({ fullName: z.string(), status: z.string(), failureMessages: z.array(z.string()) }),
      ),
    }),
  ),
});

/**
 * Runs tests, of the sources in that folder, against the services of this run.
 *
 * @returns What came of each: `passed`, `failed: …` with why, or what else there is to say.
 */
async function outcomesIn(folder: string, tests: Guard["test"][]): Promise<string[]> {
  const report = join(folder, `${crypto.randomUUID()}.json`);
  const env = Object.entries(process.env).filter(([name]) => !name.startsWith("VITEST"));
  const services = JSON.stringify({ environment: inject("environment"), control: inject("control") });
  const files = [...new Set(tests.map(([file]) => file))];
  const names = tests.map(([, ...names]) => names.map(escaped).join(" > ")).join("|");
  const args = [vitest, "run", ...files, "-t", names, "--reporter=json", `--outputFile=${report}`];
  await promisify(execFile)(process.execPath, args, {
    cwd: folder,
    env: { ...Object.fromEntries(env), TEST_SERVICES: services },
  }).catch(() => {}); // it ends with 1 when a test fails: the report says which
  const { testResults } = Report.parse(JSON.parse(await readFile(report, "utf8")));
  await rm(report);
  return tests.map(([file, group, title]) => {
    const found = testResults
      .filter((result) => result.name.endsWith(`/${file}`))
      .flatMap(({ assertionResults }) => assertionResults.filter(({ fullName }) => fullName === `${group} ${title}`));
    const [one] = found;
    if (!one || found.length > 1) return `there are ${found.length} tests of that name`;
    return one.status === "failed" ? `failed: ${one.failureMessages[0]}` : one.status;
  });
}

const escaped = (text: string) => text.replace(/[^\w ]/g, "\\$&");

/** A copy of the sources without a guard. */
async function aCopyWithout({ file, text, instead = "" }: Guard): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "scalai-guard-"));
  await Promise.all(sources.map((name) => cp(join(root, name), join(folder, name), { recursive: true })));
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  const parts = (await readFile(join(folder, file), "utf8")).split(text);
  if (parts.length !== 2) throw new Error(`${file} has ${parts.length - 1} times: ${text}`);
  await writeFile(join(folder, file), parts.join(instead));
  return folder;
}

const proven = new Set<Guard>();
const rowOf = ({ name, test: [file, group, title] }: Guard) =>
  `${name} | ${file}: ${group} ${title} | fails without it`;
afterAll(() =>
  console.log(
    guards
      .filter((guard) => proven.has(guard))
      .map(rowOf)
      .join("\n"),
  ),
);

it("with every guard in its place all of their tests pass", { timeout: 300_000 }, async () => {
  const tests = guards.map(({ test }) => test);
  const outcomes = await outcomesIn(root, tests);
  expect(tests.map((test, i) => [test, outcomes[i]])).toEqual(tests.map((test) => [test, "passed"]));
});

it("docs/turns.md lists them", async () => {
  const text = await readFile(join(root, "docs/turns.md"), "utf8");
  const rows = guards.map(({ name, test: [file, , title] }) => `| ${name} | \`${file}\`: ${title} |`);
  expect(rows.filter((row) => !text.includes(row))).toEqual([]);
});

describe.concurrent("its test fails without", () => {
  it.each(guards)("$name", { timeout: 300_000 }, async (guard) => {
    const folder = await aCopyWithout(guard);
    try {
      const [outcome] = await outcomesIn(folder, [guard.test]);
      expect(outcome).toMatch(/^failed: AssertionError/);
      proven.add(guard);
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
