/**
 * `npm run smoke -- --url URL --token T --subaccount ID [--agent ID] [--origin ORIGIN]`: tries a deployed stage from
 * outside: what it refuses, its headers and limits, whether pages of an origin may call it and, with an agent to talk
 * to, a chat's whole life. About 30 requests.
 */
import { parseArgs } from "node:util";
import { Api } from "./smoke/api.ts";
import { Wrong } from "./smoke/expect.ts";
import { aLife } from "./smoke/life.ts";
import { outside } from "./smoke/outside.ts";
import { subaccountIdOf } from "./subaccount.ts";
import { table } from "./table.ts";

const usage = "npm run smoke -- --url URL --token T --subaccount ID [--agent ID] [--origin https://app.example]";

const { values } = parseArgs({
  options: {
    url: { type: "string" },
    token: { type: "string", default: "" },
    subaccount: { type: "string" },
    agent: { type: "string" },
    origin: { type: "string" },
  },
});

try {
  if (!URL.canParse(values.url ?? "") || !values.token)
    throw new Error(`--url and --token are needed. Usage: ${usage}`);
  const api = new Api({
    url: values.url ?? "",
    token: values.token,
    subaccountId: subaccountIdOf(values.subaccount, usage),
    agentId: values.agent,
    origin: values.origin,
  });
  process.exitCode = (await smoke(api)) ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function smoke(api: Api): Promise<boolean> {
  const rows: string[][] = [];
  let failed = 0;
  const life = aLife();
  const checks = api.agentId === undefined ? outside : [...outside, ...life.checks];
  for (const { name, run } of checks) {
    const started = performance.now();
    const [outcome, detail] = await run(api).then(
      (word) => ["ok", word ?? ""],
      (error: unknown) => ["FAILED", whyNot(error)],
    );
    if (outcome !== "ok") failed += 1;
    rows.push([outcome ?? "", name, `${Math.round(performance.now() - started)}ms`, detail ?? ""]);
  }
  await life.leave(api);
  console.log(table(rows));
  const rest = checks === outside ? "; a chat's life is tried with --agent" : "";
  console.log(`${rows.length - failed} ok, ${failed} failed${rest}`);
  return failed === 0;
}

/** What is not as it should be, or why nothing came back. */
function whyNot(error: unknown): string {
  if (error instanceof Wrong) return error.message;
  if (!(error instanceof Error)) return "failed";
  const { code } = (error.cause ?? {}) as { code?: unknown };
  return typeof code === "string" ? `no answer: ${code}` : `${error.name}: ${error.message}`;
}
