import { execFileSync } from "node:child_process";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type BuildOptions, build, type Metafile } from "esbuild";
import { routes } from "../lib/api/routes.ts";
import { defineCommand, type Named } from "../ops/command.ts";
import { runCommand } from "../ops/run-command.ts";
import { alias, apart, copyPdfPackages, driver, pdf, standIn } from "./build/plugins.ts";
import { workers } from "./jobs.ts";
import { schedules } from "./schedules.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** The folder for the bundles of `npm run build`. */
export const dist = join(root, "dist");

/** Every function that is deployed: the routes, the schedules and the workers. */
export const functions = [...Object.keys(routes), ...Object.keys(schedules), ...workers];

/** A bundled function: `index.cjs` with the handler, and the driver, which it loads on first use. */
export interface Bundle {
  name: string;
  /** A folder of its own, because SST adds a file. */
  folder: string;
  bytes: number;
  /** Bytes by package. Our own code is `scalai-chat`. */
  packages: Map<string, number>;
}

/**
 * How functions are bundled.
 *
 * CommonJS, because `import "node:http"` in an ES module adds 20 ms to a cold start. Names are kept for stack traces in
 * the log, which costs 47 kB and 4 ms of `list`. No source maps: they would be larger than the code, and Node would load
 * them.
 */
const options = {
  absWorkingDir: root,
  bundle: true,
  platform: "node",
  target: "node24",
  format: "cjs",
  supported: { "dynamic-import": false }, // becomes require(), so that Node does not load its ESM loader
  minify: true,
  keepNames: true,
  legalComments: "none",
  logLevel: "warning",
  alias,
  plugins: [standIn, apart],
  metafile: true,
  outExtension: { ".js": ".cjs" },
} as const satisfies BuildOptions;

/** Bundles a program as it is deployed: `index.cjs`, and beside it what it can load on first use. */
export async function bundle(program: string, folder: string): Promise<Metafile["outputs"][string][]> {
  const outputsOf = async (entryPoints: Record<string, string>, more: BuildOptions = {}) =>
    Object.values((await build({ ...options, ...more, metafile: true, entryPoints, outdir: folder })).metafile.outputs);
  const [index] = await outputsOf({ index: program });
  if (!index) throw new Error(`esbuild wrote no output for ${program}`);
  const outputs = [index];
  const loads = (path: string) => index.imports.some((one) => one.path === path);
  const add = async (name: string, source: string, more: BuildOptions) =>
    outputs.push(...(await outputsOf({ [name]: join(root, source) }, more)));
  if (loads(driver.path)) await add(driver.name, "lib/platform/mongo-driver.ts", driver.options);
  if (loads(pdf.path)) {
    await add(pdf.name, "lib/chat/export/pdf/pdf.ts", { ...pdf.options, external: [...pdf.options.external] });
    await copyPdfPackages(root, folder);
  }
  return outputs;
}

/** Bundles every function, each into a folder of its own. */
export async function buildAll(folder = dist): Promise<Bundle[]> {
  await rm(folder, { recursive: true, force: true });
  return Promise.all(functions.map((name) => buildFunction(name, join(folder, name))));
}

/** Bundles one function. */
export async function buildFunction(name: string, folder: string): Promise<Bundle> {
  const outputs = await bundle(join(root, "functions", `${name}.ts`), folder);
  const bytes = sum(outputs.map((output) => output.bytes));
  return { name, folder, bytes, packages: byPackage(outputs) };
}

function byPackage(outputs: Metafile["outputs"][string][]): Map<string, number> {
  const packages = new Map<string, number>();
  const add = (name: string, more: number) => packages.set(name, (packages.get(name) ?? 0) + more);
  for (const { inputs, bytes } of outputs) {
    for (const [path, { bytesInOutput }] of Object.entries(inputs)) {
      add(/.*node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1] ?? "scalai-chat", bytesInOutput);
    }
    add("(esbuild)", bytes - sum(Object.values(inputs).map(({ bytesInOutput }) => bytesInOutput)));
  }
  return packages;
}

/** A table of kilobytes: a row per package, the largest first, and a column per function. */
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

export const named: Named = {
  call: "npm run build --",
  says: "bundles every function into dist/ as it is deployed, and the console into console/dist/",
};

export const command = defineCommand({
  details: "Prints the bytes of each function by package.",
  flags: {
    quiet: { type: "boolean", description: "print nothing but warnings" },
    console: { type: "boolean", description: "bundle the console, too: npm run build always does" },
  },
  async run({ quiet, console: withConsole }) {
    const bundles = await buildAll();
    if (!quiet) console.log(report(bundles));
    const build = ["run", "--silent", "build", "--workspace", "@scalai/console", "--"];
    const stdio = "inherit";
    if (withConsole) execFileSync("npm", [...build, ...(quiet ? ["--logLevel", "warn"] : [])], { cwd: root, stdio });
  },
});

if (import.meta.main) await runCommand(named, process.argv.slice(2), async () => command);
