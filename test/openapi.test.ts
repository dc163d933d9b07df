import { readFile } from "node:fs/promises";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { expect, it } from "vitest";
import { text } from "../dev/openapi.ts";

const written = await readFile(new URL("../docs/openapi.json", import.meta.url), "utf8");

it("docs/openapi.json is what `npm run openapi` writes", () => {
  if (written !== text()) throw new Error("docs/openapi.json is out of date: refresh it by `npm run openapi`");
});

it("Redocly's linter finds nothing in it, by its strictest rules", async () => {
  const config = await createConfig({ extends: ["recommended-strict"] });
  const problems = await lintFromString({ source: written, absoluteRef: "docs/openapi.json", config });
  expect(problems.map(({ ruleId, message, location }) => [ruleId, message, location[0]?.pointer])).toEqual([]);
});
