import { readdir, readFile, stat } from "node:fs/promises";
import { expect, it } from "vitest";
import * as timing from "../lib/chat/timing.ts";
import { Deadline } from "../lib/platform/deadline.ts";

const root = new URL("../", import.meta.url);
const read = (file: string) => readFile(new URL(file, root), "utf8");
const isThere = (path: string) =>
  stat(new URL(path, root)).then(
    () => true,
    () => false,
  );

const pages = [
  ...["README.md", "CONTRIBUTING.md", "CHANGELOG.md"],
  ...(await readdir(new URL("docs", root))).filter((name) => name.endsWith(".md")).map((name) => `docs/${name}`),
];
const folders = [
  "functions",
  "lib",
  "infra",
  "ops",
  "dev",
  "packages",
  "console",
  "test",
  "bench",
  "docs",
  ".ci",
  ".github",
];
const files = (
  await Promise.all(
    folders.map(async (folder) => {
      const names = await readdir(new URL(folder, root), { recursive: true });
      return names.filter((name) => !name.includes("node_modules")).map((name) => `${folder}/${name}`);
    }),
  )
).flat();

const withoutCode = (text: string) => text.replace(/^( *)```.*?^\1```$/gms, "");

/** The anchors of a page, as GitHub makes them of its headings. */
function anchorsOf(text: string): string[] {
  const seen = new Map<string, number>();
  return [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading = ""]) => {
    const slug = heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-");
    const times = seen.get(slug) ?? 0;
    seen.set(slug, times + 1);
    return times === 0 ? slug : `${slug}-${times}`;
  });
}

it("every link within the project leads to a file that is there, and to one of its headings", async () => {
  const broken: string[] = [];
  for (const page of pages) {
    for (const [, target = ""] of withoutCode(await read(page)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : new URL(path, new URL(page, "file:///")).pathname.slice(1);
      if (!(await isThere(file))) broken.push(`${page}: no file ${target}`);
      else if (anchor !== undefined && !anchorsOf(await read(file)).includes(anchor)) {
        broken.push(`${page}: no heading ${target}`);
      }
    }
  }
  expect(broken).toEqual([]);
});

/** What CONTRIBUTING has its reader add, and test/contributing.proof.ts adds. */
const toBeAdded = ["lib/api/routes/status.ts", "functions/status.ts", "test/status.test.ts"];

it("every file that a page names is there", async () => {
  const missing: string[] = [];
  for (const page of pages) {
    const text = withoutCode(await read(page));
    for (const [, name = ""] of text.matchAll(
      /`((?:[\w.-]+\/)*[\w.-]+\.(?:ts|lua|sh|svg|yml)|[a-z]+\/(?:[\w-]+\/)*)`/g,
    )) {
      const known = name.endsWith("/") ? await isThere(name) : files.some((file) => `/${file}`.endsWith(`/${name}`));
      if (!known && !(await isThere(name)) && !toBeAdded.includes(name)) missing.push(`${page}: no ${name}`);
    }
  }
  expect(missing).toEqual([]);
});

it("every command that a page names is there, and each subcommand in its table", async () => {
  const { scripts } = JSON.parse(await read("package.json"));
  const tables = new Map<string, string[]>();
  for (const [name, script] of Object.entries<string>(scripts)) {
    if (["ops", "local", "prove"].includes(name)) tables.set(name, await subcommandsOf(script));
  }
  const missing: string[] = [];
  for (const page of pages) {
    const text = await read(page);
    for (const [command, name = ""] of text.matchAll(/npm (?:run )?(start|test|(?<=run )[\w:]+)/g)) {
      if (!(name in scripts)) missing.push(`${page}: ${command}`);
    }
    for (const [command, name = "", one = "", two = ""] of text.matchAll(
      /npm run (\w+) -- ([a-z][a-z-]*)( [a-z-]+)?/g,
    )) {
      const table = tables.get(name);
      if (table && !table.includes(one) && !table.includes(one + two)) missing.push(`${page}: ${command}`);
    }
  }
  expect(missing).toEqual([]);
});

/** The names in the table that a script's program (`node FILE`) exports, by itself or in a group. */
async function subcommandsOf(script: string): Promise<string[]> {
  const exported = await import(new URL(script.split(" ").at(-1) ?? "", root).href);
  const group = [exported, ...Object.values(exported)].find((value) => value?.rows);
  return Object.keys(group.rows);
}

it("the README has 120 lines at most, and leads to every other page", async () => {
  const readme = await read("README.md");
  expect(readme.split("\n").length - 1).toBeLessThanOrEqual(120);
  expect(pages.filter((page) => page !== "README.md" && !readme.includes(`](${page})`))).toEqual([]);
});

/** The titles in a test file: what stands first in a call whose next argument is a function. */
const titles = (source: string) =>
  [...source.matchAll(/\(\s*(["'`])((?:\\.|(?!\1).)*)\1,\s*(?:\{[^}]*\},\s*)?(?:async\s*)?(?:\(|\w+\s*=>)/gs)].map(
    ([, , title]) => title,
  );

/** What a document names: [`test/x.test.ts`: a title, or a part of one; another; `test/y.test.ts`: …] */
function named(document: string): { file: string; title: string }[] {
  return [...document.matchAll(/\[(`(?:test|packages|\.ci)\/[^\]]+)\]/g)].flatMap(([, list = ""]) => {
    let file = "";
    return list.split(/;\s+/).map((item) => {
      const [, own, title = item] = /^`((?:test|packages|\.ci)\/[^`]+)`: (.*)$/s.exec(item) ?? [];
      file = own ?? file;
      return { file, title };
    });
  });
}

it.each(["docs/security.md", "docs/turns.md"])("every test that %s names is there", async (document) => {
  const tests = named(await read(document));
  expect(tests.length).toBeGreaterThanOrEqual(10);
  const missing: string[] = [];
  for (const { file, title } of tests) {
    if (!titles(await read(file)).some((known) => known?.includes(title))) missing.push(`${file}: ${title}`);
  }
  expect(missing).toEqual([]);
});

/** A time as a page writes it, in ms. */
function msOf(amount: string, unit: string): number {
  const units: Record<string, number> = { ms: 1, s: 1_000, minute: 60_000, hour: 3_600_000, day: 86_400_000 };
  return Number(amount) * (units[unit] ?? Number.NaN);
}

it("every time in docs/turns.md is the one of lib/chat/timing.ts", async () => {
  const page = await read("docs/turns.md");
  const times: Record<string, unknown> = { ...timing };
  const rows = [...page.matchAll(/^\| `(\w+)` \| (\d+) (ms|s|minute|hour|day)s? \|/gm)];
  const table = rows.map(([, name = "", amount = "", unit = ""]) => [name, msOf(amount, unit)] as const);
  expect(table.length).toBeGreaterThan(10);
  const current = table.map(([name]) => [name, typeof times[name] === "function" ? times[name]() : times[name]]);
  expect(current).toEqual(table);

  // Calls end 24 s after an invocation of 29 s began. Retell itself works on a send for 300 s at most.
  const others = [Math.round((new Deadline(29_000).callAt - Date.now()) / 1_000) * 1_000, 300_000];
  const text = page.replace(/^## Times.*?(?=^## )/ms, "").replace(/`test\/[^|\]]*/g, ""); // titles of tests name times of their own
  const named = [...text.matchAll(/(\d+) (ms|s|minute|hour|day)s?\b/g)].map(([all, amount = "", unit = ""]) => ({
    all,
    isKnown: [...table.map(([, ms]) => ms), ...others].includes(msOf(amount, unit)),
  }));
  expect(named.length).toBeGreaterThan(5);
  expect(named.filter(({ isKnown }) => !isKnown)).toEqual([]);
});
