import { execFile } from "node:child_process";
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, inject, it } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));
const sources = [
  ...["lib", "functions", "infra", "ops", "dev", "packages", "test", "docs"],
  ...["package.json", "tsconfig.json", "vitest.config.ts"],
];

it("the endpoint that CONTRIBUTING adds works: its row, its file and its test, in a copy of the project", async () => {
  const guide = await readFile(join(root, "CONTRIBUTING.md"), "utf8");
  const [row = "", imports = "", line = "", handler = "", test = ""] = [
    ...guide.matchAll(/^ {3}```ts\n(.*?)^ {3}```$/gms),
  ].map(([, code = ""]) => code.replace(/^ {3}/gm, ""));
  const folder = await mkdtemp(join(tmpdir(), "scalai-test-"));
  try {
    await Promise.all(sources.map((name) => cp(join(root, name), join(folder, name), { recursive: true })));
    await symlink(join(root, "node_modules"), join(folder, "node_modules"));
    const table = await readFile(join(folder, "lib/api/routes.ts"), "utf8");
    const withRow = table.replace("export const routes = {\n", (opening) => opening + line);
    expect(withRow).not.toBe(table);
    await Promise.all([
      writeFile(join(folder, "lib/api/routes/status.ts"), row),
      writeFile(join(folder, "lib/api/routes.ts"), imports + withRow),
      writeFile(join(folder, "functions/status.ts"), handler),
      writeFile(join(folder, "test/status.test.ts"), test),
    ]);

    const env = Object.entries(process.env).filter(([name]) => !name.startsWith("VITEST"));
    const services = JSON.stringify({ environment: inject("environment"), control: inject("control") });
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const { stdout } = await promisify(execFile)(process.execPath, [vitest, "run", "test/status.test.ts"], {
      cwd: folder,
      env: { ...Object.fromEntries(env), NO_COLOR: "1", TEST_SERVICES: services },
    });
    expect(stdout).toMatch(/Tests +1 passed/);
  } finally {
    await rm(folder, { recursive: true });
  }
});
