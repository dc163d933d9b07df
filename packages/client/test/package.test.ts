import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import openapi, { astToString, COMMENT_HEADER } from "openapi-typescript";
import { expect, it } from "vitest";

const file = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));

it("has the types of docs/openapi.json", async () => {
  const types = COMMENT_HEADER + astToString(await openapi(new URL("../../../docs/openapi.json", import.meta.url)));
  if (types !== (await readFile(file("src/api.ts"), "utf8"))) throw new Error("Refresh src/api.ts: npm run openapi");
});

it("weighs less than 8 kB compressed, as an app bundles it", async () => {
  const options = { bundle: true, minify: true, format: "esm", target: "es2020", write: false } as const;
  const { outputFiles } = await build({ entryPoints: [file("src/index.ts")], ...options });
  const bytes = gzipSync(outputFiles[0]?.contents ?? "").length;
  expect(bytes).toBeGreaterThan(2_000);
  expect(bytes).toBeLessThan(8_000);
});
