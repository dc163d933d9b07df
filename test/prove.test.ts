import { globSync } from "node:fs";
import { expect, it } from "vitest";
import { rows } from "./prove.ts";

it("npm run prove knows every proof by one name", () => {
  const files = globSync(["test/**/*.proof.ts", "packages/*/test/**/*.proof.ts"]).sort();
  const named = Object.values(rows).flatMap(({ program }) =>
    program.filter((arg) => String(arg).endsWith(".proof.ts")),
  );
  expect(named.sort()).toEqual(files);
});
