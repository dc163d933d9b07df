/**
 * `npm run smoke -- --url URL --token T --subaccount ID [--agent ID] [--origin ORIGIN]`: tries a deployed stage from
 * outside: what it refuses, its headers and limits, whether pages of an origin may call it and, with an agent to talk
 * to, a chat's whole life. About 30 requests.
 */
import { parseArgs } from "node:util";
import { Api } from "./smoke/api.ts";
import { type Check, Wrong } from "./smoke/expect.ts";
import { aLife } from "./smoke/life.ts";
import { outside } from "./smoke/outside.ts";
import { subaccountIdOf } from "./subaccount.ts";

const usage =
  "npm run smoke -- --url URL --subaccount ID [--agent ID] [--origin https://app.example] [--seconds 60], with the token in SMOKE_TOKEN, or --token T";

try {
  const { values } = parseArgs({
    options: {
      url: { type: "string", default: "" },
      token: { type: "string", default: process.env.SMOKE_TOKEN || "" },
      subaccount: { type: "string" },
      agent: { type: "string" },
      origin: { type: "string" },
      seconds: { type: "string", default: "60" },
    },
  });
  if (!/^https?:\/\//.test(values.url) || !URL.canParse(values.url))
    throw new Error(`--url must begin with http:// or https://. Usage: ${usage}`);
  if (!values.token) throw new Error(`A token is needed. Usage: ${usage}`);
  if (!(Number(values.seconds) > 0)) throw new Error(`--seconds must be a number. Usage: ${usage}`);
  const api = new Api({
    url: values.url,
    token: values.token,
    subaccountId: subaccountIdOf(values.subaccount, usage),
    agentId: values.agent,
    origin: values.origin,
    timeUp: AbortSignal.timeout(Number(values.seconds) * 1_000),
  });
  process.exitCode = (await smoke(api)) ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

type Outcome = "ok" | "FAILED" | "skipped";

/** Says how each check comes out as soon as it is known. */
async function smoke(api: Api): Promise<boolean> {
  const life = aLife();
  const checks = api.agentId === undefined ? outside : [...outside, ...life.checks];
  const width = Math.max(...checks.map(({ name }) => name.length));
  const outcomes = new Map<string, Outcome>();
  for (const check of checks) {
    const started = performance.now();
    const [outcome, detail] = await outcomeOf(check, api, outcomes);
    outcomes.set(check.name, outcome);
    const ms = outcome === "skipped" ? "" : `${Math.round(performance.now() - started)}ms`;
    console.log(`${outcome.padEnd(7)}  ${check.name.padEnd(width)}  ${ms.padStart(7)}  ${detail}`.trimEnd());
  }
  await life.leave(api);
  const count = (outcome: Outcome) => [...outcomes.values()].filter((one) => one === outcome).length;
  const skipped = count("skipped") > 0 ? `, ${count("skipped")} skipped` : "";
  const rest = checks === outside ? "; a chat's life is tried with --agent" : "";
  console.log(`${count("ok")} ok, ${count("FAILED")} failed${skipped}${rest}`);
  return count("ok") === checks.length;
}

/** One cause is one failure: what needs a check that did not come out well is not tried. */
async function outcomeOf(check: Check, api: Api, before: Map<string, Outcome>): Promise<[Outcome, string]> {
  const lacking = check.needs?.find((name) => before.get(name) !== "ok");
  if (lacking !== undefined) return ["skipped", `needs: ${lacking}`];
  if (api.timeUp.aborted) return ["skipped", "the time is up"];
  try {
    return ["ok", (await check.run(api)) ?? ""];
  } catch (error) {
    const about = api.operationId ? `; operationId ${api.operationId}` : "";
    return ["FAILED", `${whyNot(error)}${about}`];
  }
}

/** What is not as it should be, or why nothing came back. */
function whyNot(error: unknown): string {
  if (error instanceof Wrong) return error.message;
  if (!(error instanceof Error)) return "failed";
  if (error.name === "TimeoutError") return "no answer in time";
  const { code } = (error.cause ?? {}) as { code?: unknown };
  return typeof code === "string" ? `no answer: ${code}` : `${error.name}: ${error.message}`;
}
