import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import { startServices } from "../dev/services.ts";
import { defineCommand, type Named } from "../ops/command.ts";
import { runCommand } from "../ops/run-command.ts";
import type { Place } from "./api.ts";
import { chartOf } from "./chart.ts";
import { run } from "./child.ts";
import type { Finding } from "./find.ts";
import { findingTables, type SendsByWords } from "./find-report.ts";
import type { Send } from "./growth.ts";
import type { Wanted } from "./heap.ts";
import { aPlace } from "./place.ts";
import { asMarkdown, asText, type Results, tablesOf } from "./report.ts";
import type { SendsJob } from "./sends.ts";

/**
 * Measures ours and naive in turn, and writes tables and a chart: to docs/, or after a quick run, whose figures are
 * rough, to node_modules/.cache/bench/.
 */
async function main(quick: boolean, what: "all" | "find"): Promise<void> {
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
    const folder = join(import.meta.dirname, "..", quick ? "node_modules/.cache/bench" : "docs");
    await mkdir(folder, { recursive: true });
    const started = performance.now();
    const place = (call: string) => {
      const minutes = ((performance.now() - started) / 60_000).toFixed(1);
      return [
        `\`npm run bench${call}${quick ? " --quick" : ""}\` on ${new Date().toISOString().slice(0, 10)}: ${minutes} minutes, Node ${process.versions.node},`,
        `${cpus().length} × ${cpus()[0]?.model.trim()}; mongod, ${services.upstash.source} and Retell's simulator on loopback, without TLS.`,
      ];
    };
    if (what === "find") {
      const load = loadavg()[0]?.toFixed(1);
      const text = await findingOf(quick);
      const about = [
        ...place(" -- find"),
        `The machine's load was ${load} at the start: on an idle one, times are shorter.`,
      ];
      const page = `# Finding chats, measured\n\n${about.join("\n")}\n\n${text}\n`;
      console.log(page);
      return await writeFile(join(folder, "bench-find.md"), page);
    }
    const tables = tablesOf(await measure(quick));
    console.log(asText(tables));
    const about = [
      ...place(quick ? " --" : ""),
      "*Naive* is bench/naive/: the same endpoints with each step awaited in turn and everything imported at the top.",
      "Both are measured in turn in one run: ratios are reliable, milliseconds depend on the machine.",
    ].join("\n");
    await writeFile(join(folder, "bench.md"), asMarkdown(tables, about));
    await writeFile(join(folder, "bench.svg"), chartOf(tables));
    console.log(`\n${folder}/bench.md and bench.svg are written.`);
  } finally {
    await services.stop();
  }
}

function part<T>(file: string, job: object, execArgv: string[] = []): Promise<T> {
  console.error(`${file} ...`);
  return run<T>(file, job, execArgv);
}

/** Sends with and without words in turn, in a process each. */
async function findingOf(quick: boolean): Promise<string> {
  const finding = await part<Finding>("find.ts", { quick });
  const sends: SendsByWords = { with: [], without: [] };
  for (let round = 0; round < (quick ? 1 : 3); round++) {
    for (const words of ["without", "with"] as const) {
      sends[words].push(await part<Send[]>("sends.ts", { quick, words } satisfies SendsJob));
    }
  }
  return findingTables(finding, sends);
}

async function measure(quick: boolean): Promise<Results> {
  const heapAt = quick ? [200, 1_000] : [2_000, 10_000];
  return {
    trips: await part("trips.ts", { quick }),
    cold: await part("cold.ts", { quick }),
    bytes: await part("bytes.ts", { quick }),
    chain: await part("chain.ts", { quick }),
    growth: await part("growth.ts", { quick }),
    throughput: await part("throughput.ts", { quick }),
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
  details:
    "Writes docs/bench.md and docs/bench.svg. With `find` it measures filters, search and analytics at 100,000 chats, and\nwrites docs/bench-find.md.",
  operands: { usage: "[find]", atMost: 1 },
  refuse: (_, [what]) =>
    what === undefined || what === "find" ? undefined : `${what} is no part that can be measured alone`,
  flags: {
    quick: {
      type: "boolean",
      description: "take about three minutes, and write rough figures to node_modules/.cache/bench/",
    },
  },
  run: ({ quick }, [what]) => main(quick, what === "find" ? "find" : "all"),
});

if (import.meta.main) await runCommand(named, process.argv.slice(2), async () => command);
