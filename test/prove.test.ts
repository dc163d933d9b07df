import { globSync } from "node:fs";
import { expect, it } from "vitest";
import { prove } from "./prove.ts";

it("npm run prove knows every proof by one name", () => {
  const files = globSync(["test/**/*.proof.ts", "packages/*/test/**/*.proof.ts"]);
  const programs = Object.values(prove.rows).flatMap((row) =>
    "program" in row ? [row.program.slice(1).map(String)] : [],
  );
  const paths = programs.map((args) => args.filter((arg) => /^(test|packages)\//.test(arg)));
  const namesOf = (file: string) => paths.filter((some) => some.some((path) => file.startsWith(path))).length;
  expect(files.filter((file) => namesOf(file) !== 1)).toEqual([]);
});
