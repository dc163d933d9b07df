/** `npm run build`: writes dist/esm and dist/cjs, each one file of JavaScript and the declarations. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const file = (path: string) => fileURLToPath(new URL(path, import.meta.url));

for (const format of ["esm", "cjs"] as const) {
  const outdir = file(`dist/${format}`);
  // What browsers of 2020, Node and React Native's Hermes understand.
  await build({
    entryPoints: [file("src/index.ts")],
    bundle: true,
    format,
    target: "es2020",
    outdir,
    logLevel: "warning",
  });
}
execFileSync(process.execPath, [file("node_modules/typescript/bin/tsc"), "-p", file("tsconfig.build.json")], {
  stdio: "inherit",
});
// The same declarations for both, read as ES modules or as CommonJS. Not all compilers resolve "./x.ts" in them.
for (const name of readdirSync(file("dist/esm")).filter((name) => name.endsWith(".d.ts"))) {
  const text = readFileSync(file(`dist/esm/${name}`), "utf8").replaceAll(/(from "\.\/\w+)\.ts"/g, '$1.js"');
  for (const format of ["esm", "cjs"]) writeFileSync(file(`dist/${format}/${name}`), text);
}
writeFileSync(file("dist/cjs/package.json"), `${JSON.stringify({ type: "commonjs" })}\n`);
