import { readdir, readFile } from "node:fs/promises";
import { expect, it } from "vitest";

const root = new URL("../", import.meta.url);
const read = (file: string) => readFile(new URL(file, root), "utf8");

/** The titles in a test file: what stands first in a call whose next argument is a function. */
const titles = (source: string) =>
  [...source.matchAll(/\(\s*(["'`])((?:\\.|(?!\1).)*)\1,\s*(?:\{[^}]*\},\s*)?(?:async\s*)?(?:\(|\w+\s*=>)/gs)].map(
    ([, , title]) => title,
  );

/** What a document names: [`test/x.test.ts`: a title, or a part of one; another; `test/y.test.ts`: …] */
function named(document: string): { file: string; title: string }[] {
  return [...document.matchAll(/\[(`(?:test|\.ci)\/[^\]]+)\]/g)].flatMap(([, list = ""]) => {
    let file = "";
    return list.split(/;\s+/).map((item) => {
      const [, own, title = item] = /^`((?:test|\.ci)\/[^`]+)`: (.*)$/s.exec(item) ?? [];
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

it("every file that the documents name is there", async () => {
  for (const document of (await readdir(new URL("docs", root))).filter((name) => name.endsWith(".md"))) {
    const text = await read(`docs/${document}`);
    for (const [, file = ""] of text.matchAll(/`((?:lib|functions|test|dev)\/[\w./-]+\.ts)`/g)) {
      expect(
        await read(file).then(
          () => file,
          () => `${document}: no ${file}`,
        ),
      ).toBe(file);
    }
  }
});
