import { expressionOf, metricsOf } from "../infra/alarm.ts";
import { alarms, defaultConcurrencyLimit } from "../infra/alarms.ts";
import { functionsOf } from "../infra/functions.ts";
import { metrics } from "../lib/platform/metrics.ts";
import { defineCommand } from "./command.ts";
import { prices, redisPlans, sources } from "./cost/prices.ts";
import { type Kind, sweepOperationsPerTenant, type Unit, units, windowCommands } from "./cost/units.ts";
import { table } from "./table.ts";

const days = 30;

/** Assumed, not measured on AWS: docs/performance.md says where each is from. */
const assumed = {
  tripMs: { redis: 3, mongo: 2, retell: 150 },
  cpuMs: 3,
  memoryGb: 1,
  /** Lambda's own two lines about an invocation, and the gateway's line. */
  otherLogBytes: 650 + 450,
  /** Per request to Upstash, both ways; a cached list is 5.8 kB. */
  redisBytes: 2_000,
  /** A run of the sweep besides its tenants' operations. */
  sweepMs: 1_000,
  /** Error codes that occur in a month: each is a metric. */
  errorCodes: 10,
};

interface Load {
  tenants: number;
  requests: [kind: Kind, perMonth: number][];
  agentMs: number;
}

export const command = defineCommand({
  details:
    "Commands, operations and log bytes of a request are measured (test/cost.test.ts). Prices are list prices of November 2026 without free tiers: check them before use. Retell, MongoDB's cluster and mails are not included.",
  flags: {
    tenants: { type: "number", description: "subaccounts", default: 200 },
    "chats-per-day": { type: "number", description: "chats a day, of all subaccounts together", default: 1_000 },
    messages: { type: "number", description: "messages of a chat", default: 5 },
    transcripts: { type: "number", description: "transcripts read while a chat is ongoing", default: 10 },
    lists: { type: "number", description: "lists read for each chat, from the cache", default: 20 },
    "agent-ms": { type: "number", description: "how long an agent thinks about a message", default: 1_500 },
  },
  async run(values) {
    const chats = values["chats-per-day"] * days;
    const load: Load = {
      tenants: values.tenants,
      agentMs: values["agent-ms"],
      requests: [
        ["create", chats],
        ["message", chats * values.messages],
        ["transcript, ongoing", chats * values.transcripts],
        ["end", chats],
        ["list, cached", chats * values.lists],
      ],
    };
    console.log(reportOn(load, chats));
  },
});

function reportOn(load: Load, chats: number): string {
  const used = load.requests.map(([kind, count]) => costOf(kind, count, load.agentMs));
  const idle = idleCosts(load.tenants);
  const redis = sum(used.map((cost) => cost.upstash));
  const total = sum(used.map((cost) => cost.sum)) + sum(idle.map(([, dollars]) => dollars));
  const head = ["a month", "requests", "Lambda $", "gateway $", "Upstash $", "logs $", "traffic $", "sum $"];
  const rows = used.map(({ kind, count, lambda, gateway, upstash, logs, traffic, sum: all }) => [
    kind,
    count,
    ...[lambda, gateway, upstash, logs, traffic, all].map(dollarsOf),
  ]);
  return [
    table([head, ...rows]),
    "",
    table([["without a request", "$"], ...idle.map(([what, dollars]) => [what, dollarsOf(dollars)])]),
    "",
    `${dollarsOf(total)} $ a month, ${chats > 0 ? (total / chats).toFixed(5) : 0} $ a chat, of which Upstash ${dollarsOf(redis)} $`,
    "",
    "Upstash by other means",
    table(redisAlternatives(load).map(([what, dollars]) => [what, dollarsOf(dollars), "$"])),
    "",
    ...sources,
  ].join("\n");
}

function costOf(kind: Kind, count: number, agentMs: number) {
  const { redisCommands, logBytes, answerBytes } = units[kind];
  const lambda = count * (lambdaSeconds(units[kind], kind === "message" ? agentMs : 0) * prices.lambdaGbSecond);
  const cost = {
    lambda: lambda + count * prices.lambdaRequest,
    gateway: count * prices.gatewayRequest,
    upstash: count * redisCommands * prices.redisCommand,
    logs: (count * (logBytes + assumed.otherLogBytes) * prices.logGb) / 1e9,
    traffic: (count * answerBytes * prices.trafficGb) / 1e9,
  };
  return { kind, count, ...cost, sum: sum(Object.values(cost)) };
}

/** GB-seconds of one request. The agent's time takes the place of a call to Retell. */
function lambdaSeconds({ trips }: Unit, agentMs: number): number {
  const { tripMs, cpuMs, memoryGb } = assumed;
  const retell = agentMs > 0 ? (trips.retell - 1) * tripMs.retell + agentMs : trips.retell * tripMs.retell;
  return ((trips.redis * tripMs.redis + trips.mongo * tripMs.mongo + retell + cpuMs) / 1_000) * memoryGb;
}

function idleCosts(tenants: number): [what: string, dollars: number][] {
  const runs = days * 24 * 60;
  const seconds = (assumed.sweepMs + tenants * sweepOperationsPerTenant * assumed.tripMs.mongo) / 1_000;
  const functions = functionsOf("production", {}).length;
  const series = sum(
    Object.values(metrics).map((metric) => {
      if (!("by" in metric)) return 1;
      return metric.by === "Code" ? assumed.errorCodes : functions;
    }),
  );
  const watched = alarms({
    ...{ stage: "production", apiId: "", queueName: "", deadLettersName: "" },
    concurrencyLimit: defaultConcurrencyLimit,
  });
  const compared = sum(watched.map((alarm) => (expressionOf(alarm) ? metricsOf(alarm).length : 1)));
  return [
    [
      `the sweep: ${runs} runs of ${seconds.toFixed(1)} s`,
      runs * (seconds * assumed.memoryGb * prices.lambdaGbSecond + prices.lambdaRequest + prices.schedule),
    ],
    [`${series} metrics`, series * prices.metricMonth],
    [`${watched.length} alarms of ${compared} metrics`, compared * prices.alarmMetricMonth],
    ["the dashboard", prices.dashboardMonth],
  ];
}

/** What Redis would cost by other plans, or with fewer commands. */
function redisAlternatives({ requests }: Load): [what: string, dollars: number][] {
  const count = sum(requests.map(([, each]) => each));
  const commands = sum(requests.map(([kind, each]) => each * units[kind].redisCommands));
  const saved = (way: "oneScript" | "fixed") => count * (windowCommands.sliding - windowCommands[way]);
  const trafficGb = (count * assumed.redisBytes) / 1e9;
  const plan = redisPlans.find((one) => one.trafficGb >= trafficGb);
  return [
    [`pay as you go: ${commands} commands`, commands * prices.redisCommand],
    ["both windows counted by one script of our own", (commands - saved("oneScript")) * prices.redisCommand],
    ["fixed windows in place of sliding ones", (commands - saved("fixed")) * prices.redisCommand],
    ...(plan ? [[`plan ${plan.name}, for ${trafficGb.toFixed(1)} GB`, plan.dollars] as [string, number]] : []),
  ];
}

const sum = (numbers: number[]) => numbers.reduce((total, number) => total + number, 0);
const dollarsOf = (dollars: number) => Number(dollars.toFixed(2));
