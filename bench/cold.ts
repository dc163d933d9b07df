import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { load as fill } from "../dev/seed/load.ts";
import { buildFunction } from "../infra/build.ts";
import { eventFor, load, type Name, succeed } from "./api.ts";
import { type Job, job, tell } from "./child.ts";
import { interleaved } from "./numbers.ts";
import { aPlace } from "./place.ts";

/** One bundle: its size, and times in ms from the start of the process, one number per round. */
export interface Started {
  bytes: number;
  gzip: number;
  /** How many modules were loaded: Node's own and the program's. */
  modules: number;
  ready: number[];
  /** Time of the first answer. */
  answered: number[];
}

export type Cold = Record<"empty.cjs" | "empty.mjs" | `${"naive" | "ours"} ${Name}`, Started>;

const folder = fileURLToPath(new URL("../node_modules/.cache/bench/", import.meta.url));
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/**
 * Starts new processes, each with one bundle: ours as deployed, the naive ones as ES modules minified by esbuild, and
 * an empty handler of each kind. The caches are filled, and the services are on loopback.
 */
async function measure({ quick }: Job): Promise<Cold> {
  const bundles = await bundled();
  const place = await aPlace();
  await fill(process.env.MONGODB_URL ?? "", { ...place, chats: 120, messages: 2, seed: 1 });
  const events: Partial<Record<Name, string>> = {};
  for (const api of [await load(), await load(new URL("naive/", import.meta.url))]) await succeed(api, "list", place);
  const created = await succeed(await load(), "create", place, { body: { agentId: place.agentId } });
  const message = { chatId: created.body.data.chat_id, body: { content: "ping" } };
  for (const [name, request] of [
    ["list", {}],
    ["message", message],
  ] as const) {
    events[name] = join(folder, `${name}.json`);
    await writeFile(events[name], JSON.stringify(eventFor(name, place, request)));
  }

  const start = async (name: string, file: string) => {
    const event = events[name.split(" ")[1] as Name];
    const runner = [here("runner.cjs"), file, ...(event ? [event] : [])];
    // The result comes through file descriptor 3, because the log is on stdout.
    const script = 'exec 3>&1 >/dev/null; exec "$0" "$@"';
    const { stdout } = await promisify(execFile)("/bin/sh", ["-c", script, process.execPath, ...runner]);
    return JSON.parse(stdout) as { ready: number; modules: number; answered: number };
  };
  const tasks = Object.fromEntries(Object.entries(bundles).map(([name, file]) => [name, () => start(name, file)]));
  await interleaved(1, tasks); // warm-up: reads the files from the disk
  const results = await interleaved(quick ? 5 : 21, tasks);

  const measured: Partial<Record<string, Started>> = {};
  for (const [name, starts] of Object.entries(results)) {
    const code = await codeOf(bundles[name] ?? "");
    measured[name] = {
      bytes: code.length,
      gzip: gzipSync(code).length,
      modules: starts[0]?.modules ?? 0,
      ready: starts.map(({ ready }) => ready),
      answered: starts.map(({ answered }) => answered),
    };
  }
  return measured as Cold;
}

/** A bundle's code, including the part of ours that is loaded only when it is needed. */
async function codeOf(file: string): Promise<Buffer> {
  const folder = basename(file) === "index.cjs" ? dirname(file) : undefined;
  const files = folder ? (await readdir(folder)).map((name) => join(folder, name)) : [file];
  return Buffer.concat(await Promise.all(files.map((path) => readFile(path))));
}

/** Builds all bundles. Returns their files by name. */
async function bundled(): Promise<Record<string, string>> {
  await mkdir(folder, { recursive: true });
  const files: Record<string, string> = {
    "empty.cjs": join(folder, "empty.cjs"),
    "empty.mjs": join(folder, "empty.mjs"),
  };
  await writeFile(join(folder, "empty.cjs"), "exports.handler = async () => ({ statusCode: 200 });");
  await writeFile(join(folder, "empty.mjs"), "export const handler = async () => ({ statusCode: 200 });");
  for (const name of ["list", "message"] as const) {
    const ours = await buildFunction(name, join(folder, "ours", name));
    files[`ours ${name}`] = join(ours.folder, "index.cjs");
    const outfile = join(folder, "naive", `${name}.mjs`);
    await build({
      entryPoints: [here(`naive/${name}.ts`)],
      outfile,
      bundle: true,
      minify: true,
      platform: "node",
      target: "node24",
      format: "esm",
      // The driver is CommonJS and loads Node's modules by require.
      banner: { js: 'import { createRequire } from "node:module"; const require = createRequire(import.meta.url);' },
      logLevel: "error",
    });
    files[`naive ${name}`] = outfile;
  }
  return files;
}

if (import.meta.main) tell(await measure(job()));
