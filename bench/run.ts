import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { cpus } from "node:os";
import { join } from "node:path";
import { startServices } from "../dev/services.ts";
import { defineCommand, type Named } from "../ops/command.ts";
import { runCommand } from "../ops/run-command.ts";
import type { Place } from "./api.ts";
import { chartOf } from "./chart.ts";
import { run } from "./child.ts";
import type { Wanted } from "./heap.ts";
import { aPlace } from "./place.ts";
import { asMarkdown, asText, type Results, tablesOf } from "./report.ts";

/**
 * Measures ours and naive in turn, and writes tables and a chart: to docs/, or after a quick run, whose figures are
 * rough, to node_modules/.cache/bench/.
 */
async function main(quick: boolean): Promise<void> {
  for (const name of ["MONGODB_URL", "UPSTASH_REDIS_REST_URL", "RETELL_BASE_URL"]) delete process.env[name];
  const services = await startServices({ onExit: (line) => console.error(line), say: (line) => console.error(line) });
  try {
    Object.assign(process.env, {
      STAGE: "bench",
      MONGODB_URL: services.mongodb.url,
      UPSTASH_REDIS_REST_URL: services.upstash.url,
      UPSTASH_REDIS_REST_TOKEN: services.upstash.token,
      RETELL_BASE_URL: services.retell.url,
      JWT_SECRET: randomBytes(32).toString("hex"),
      ENCRYPTION_KEY: randomBytes(32).toString("hex"),
    });
    const started = performance.now();
    const tables = tablesOf(await measure(quick));
    const minutes = ((performance.now() - started) / 60_000).toFixed(1);
    console.log(asText(tables));

    const root = join(import.meta.dirname, "..");
    const folder = join(root, quick ? "node_modules/.cache/bench" : "docs");
    const about = [
      `\`npm run bench${quick ? " -- --quick" : ""}\` on ${new Date().toISOString().slice(0, 10)}: ${minutes} minutes, Node ${process.versions.node},`,
      `${cpus().length} × ${cpus()[0]?.model.trim()}; mongod, ${services.upstash.source} and Retell's simulator on loopback, without TLS.`,
      "*Naive* is bench/naive/: the same endpoints with each step awaited in turn and everything imported at the top.",
      "Both are measured in turn in one run: ratios are reliable, milliseconds depend on the machine.",
    ].join("\n");
    await mkdir(folder, { recursive: true });
    await writeFile(join(folder, "bench.md"), asMarkdown(tables, about));
    await writeFile(join(folder, "bench.svg"), chartOf(tables));
    console.log(`\n${minutes} minutes; ${folder}/bench.md and bench.svg are written.`);
  } finally {
    await services.stop();
  }
}

async function measure(quick: boolean): Promise<Results> {
  const part = <T>(file: string, job: object = { quick }, execArgv: string[] = []) => {
    console.error(`${file} ...`);
    return run<T>(file, job, execArgv);
  };
  const heapAt = quick ? [200, 1_000] : [2_000, 10_000];
  return {
    trips: await part("trips.ts"),
    cold: await part("cold.ts"),
    bytes: await part("bytes.ts"),
    chain: await part("chain.ts"),
    growth: await part("growth.ts"),
    throughput: await part("throughput.ts"),
    heap: await part("heap.ts", { ...(await somewhere()), at: heapAt } satisfies Wanted, ["--expose-gc"]),
  };
}

async function somewhere(): Promise<Place> {
  const { subaccountId, agentId, token, mongo } = await aPlace();
  await mongo.close();
  return { subaccountId, agentId, token };
}

export const named: Named = {
  call: "npm run bench --",
  says: "measures every figure of docs/bench.md against a naive build, in about ten minutes",
};

export const command = defineCommand({
  details: "Writes docs/bench.md and docs/bench.svg.",
  flags: {
    quick: {
      type: "boolean",
      description: "take about three minutes, and write rough figures to node_modules/.cache/bench/",
    },
  },
  run: ({ quick }) => main(quick),
});

if (import.meta.main) await runCommand(named, process.argv.slice(2), async () => command);
