import { globSync } from "node:fs";
import { expect, it } from "vitest";
import { rows } from "./prove.ts";

it("npm run prove knows every proof by one name", () => {
  const files = globSync(["test/**/*.proof.ts", "packages/*/test/**/*.proof.ts"]);
  const paths = Object.values(rows).map(({ program }) =>
    program.slice(1).filter((arg) => /^(test|packages)\//.test(String(arg))),
  );
  const namesOf = (file: string) => paths.filter((some) => some.some((path) => file.startsWith(String(path)))).length;
  expect(files.filter((file) => namesOf(file) !== 1)).toEqual([]);
});
