import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type BuildOptions, build, type Metafile } from "esbuild";
import { routes } from "../lib/routes.ts";
import { alias, leaveOut } from "./build/tricks.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

/** Every function that is deployed: those of the table, and what runs by the clock. */
export const functions = [...Object.keys(routes), "sweep"];

/** One finished bundle. */
export interface Bundle {
  name: string;
  /** `index.cjs`, alone in a folder that SST may write its own file into; its handler is `index.handler`. */
  file: string;
  bytes: number;
  /** Bytes by package; what is ours is `scalai-chat`. */
  packages: Map<string, number>;
}

/**
 * How everything is bundled that is deployed, or that tests run as deployed.
 *
 * CommonJS: in an ES module `import "node:http"` alone costs 20 ms of a cold start. Names are kept, for the sake of
 * stack traces in the log: that is 6% of the bytes and no measurable time. There are no source maps: they
 * would be the larger part of what Lambda fetches and Node parses.
 */
export const options = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node24",
  format: "cjs",
  minify: true,
  keepNames: true,
  legalComments: "none",
  logLevel: "warning",
  alias,
  plugins: [leaveOut],
} as const satisfies BuildOptions;

/** Builds every function of the API into a folder of its own. */
export async function buildAll(folder = join(root, "dist")): Promise<Bundle[]> {
  await rm(folder, { recursive: true, force: true });
  return Promise.all(functions.map((name) => buildFunction(name, join(folder, name, "index.cjs"))));
}

async function buildFunction(name: string, file: string): Promise<Bundle> {
  const entry = join(root, "functions", `${name}.ts`);
  const { metafile } = await build({ ...options, entryPoints: [entry], outfile: file, metafile: true });
  const [output] = Object.values(metafile.outputs);
  if (!output) throw new Error(`esbuild wrote nothing for ${name}`);
  return { name, file, bytes: output.bytes, packages: byPackage(output) };
}

function byPackage({ inputs, bytes }: Metafile["outputs"][string]): Map<string, number> {
  const packages = new Map<string, number>();
  const add = (name: string, more: number) => packages.set(name, (packages.get(name) ?? 0) + more);
  for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
    add(/.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? "scalai-chat", bytesInOutput);
  }
  add("(esbuild)", bytes - sum([...packages.values()]));
  return packages;
}

/** A table of kilobytes: a row for each package, the largest first, and a column for each function. */
export function report(bundles: Bundle[]): string {
  const total = (name: string) => sum(bundles.map(({ packages }) => packages.get(name) ?? 0));
  const names = [...new Set(bundles.flatMap(({ packages }) => [...packages.keys()]))];
  const rows = names
    .sort((a, b) => total(b) - total(a))
    .map((name) => [name, ...bundles.map(({ packages }) => kilobytes(packages.get(name) ?? 0))]);
  const head = ["kB", ...bundles.map(({ name }) => name)];
  const foot = ["total", ...bundles.map(({ bytes }) => kilobytes(bytes))];
  const width = Math.max(...names.map(({ length }) => length)) + 2;
  return [head, ...rows, foot]
    .map(([first = "", ...rest]) => first.padEnd(width) + rest.map((cell) => cell.padStart(11)).join(""))
    .join("\n");
}

const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);
const kilobytes = (bytes: number) => (bytes / 1_000).toFixed(1);

if (import.meta.main) {
  const { values } = parseArgs({ options: { quiet: { type: "boolean", default: false } } });
  const bundles = await buildAll();
  if (!values.quiet) console.log(report(bundles));
}
