import { defineCommand } from "./command.ts";
import { Api } from "./smoke/api.ts";
import { type Check, Wrong } from "./smoke/expect.ts";
import { aLife } from "./smoke/life.ts";
import { outside } from "./smoke/outside.ts";

export const command = defineCommand({
  details:
    "With --agent it creates a chat, sends one message and ends it. SMOKE_TOKEN keeps the token out of what npm prints.",
  flags: {
    url: { type: "url", description: "where the stage is", required: true },
    subaccount: { type: "id", description: "a subaccount that the token may use", required: true },
    token: { type: "text", description: "the access token (default: SMOKE_TOKEN)" },
    agent: { type: "text", description: "an agent of the subaccount, to try a whole chat" },
    origin: { type: "url", description: "the origin of a web page that must be allowed to call" },
    seconds: { type: "number", description: "start no check after this time", default: 60 },
  },
  refuse: ({ token }) =>
    token || process.env.SMOKE_TOKEN ? undefined : "a token is needed, in SMOKE_TOKEN or --token TEXT",
  target: async ({ url }) => ({ name: `API ${url}`, isOwn: false }),
  async run({ url, subaccount, token = process.env.SMOKE_TOKEN ?? "", agent, origin, seconds }) {
    const timeUp = AbortSignal.timeout(seconds * 1_000);
    return smoke(new Api({ url, token, subaccountId: subaccount, agentId: agent, origin, timeUp }));
  },
});

type Outcome = "ok" | "FAILED" | "skipped";

/** Runs all checks, and prints the outcome of each as soon as it is known. Returns whether all are ok. */
export async function smoke(api: Api): Promise<boolean> {
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
  const rest = checks === outside ? "; a whole chat is tried with --agent" : "";
  console.log(`${count("ok")} ok, ${count("FAILED")} failed${skipped}${rest}`);
  return count("ok") === checks.length;
}

/** A check whose precondition failed is skipped, so that one cause is one failure. */
async function outcomeOf(check: Check, api: Api, before: Map<string, Outcome>): Promise<[Outcome, string]> {
  const lacking = check.needs?.find((name) => before.get(name) !== "ok");
  if (lacking !== undefined) return ["skipped", `needs: ${lacking}`];
  if (api.timeUp.aborted) return ["skipped", "the time is up"];
  try {
    return ["ok", (await check.run(api)) ?? ""];
  } catch (error) {
    const about = api.operationId ? `; operationId ${api.operationId}` : "";
    return ["FAILED", `${reasonOf(error)}${about}`];
  }
}

function reasonOf(error: unknown): string {
  if (error instanceof Wrong) return error.message;
  if (!(error instanceof Error)) return "failed";
  if (error.name === "TimeoutError") return "no answer in time";
  const { code } = (error.cause ?? {}) as { code?: unknown };
  return typeof code === "string" ? `no answer: ${code}` : `${error.name}: ${error.message}`;
}
