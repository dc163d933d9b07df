import { readFile } from "node:fs/promises";
import { sign } from "retell-sdk/lib/webhook_auth";
import { expect, describe as group, it } from "vitest";
import { type Alarm, cannotFire, descriptionOf, maxDescription } from "../infra/alarm.ts";
import { alarms, defaultConcurrencyLimit } from "../infra/alarms.ts";
import { dashboard } from "../infra/dashboard.ts";
import { queries } from "../infra/queries.ts";
import { overriddenSettings, problemsOf } from "../infra/settings.ts";
import type { Route } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { metrics, namespace } from "../lib/platform/metrics.ts";
import type { Flag } from "../ops/command.ts";
import { ops } from "../ops/main.ts";
import { stageAsFarAsKnown, stageTarget } from "../ops/target.ts";
import { isBeyond as beyond, comparedOf } from "./support/cloudwatch.ts";
import { logged } from "./support/instance.ts";
import { aLog } from "./support/log.ts";
import { aChatBy, anInstance, aWire, owned } from "./support/wire.ts";
import { aWorld, control, fault } from "./support/world.ts";

const watched = {
  stage: "production",
  apiId: "an-api",
  queueName: "jobs",
  deadLettersName: "dead-letters",
  concurrencyLimit: defaultConcurrencyLimit,
};

group("a saved query", async () => {
  const lines = await linesOfAllKinds();

  it.each(Object.entries(queries).filter(([, { logs }]) => logs === "functions"))(
    "names only fields, and compares them with texts, that stand in lines: %s",
    (_name, { text }) => {
      const { fields, comparisons } = understood(text);
      expect(fields.length).toBeGreaterThan(0);
      expect(fields.filter((field) => !lines.some((line) => fieldOf(line, field) !== undefined))).toEqual([]);
      expect(comparisons.filter(([field, value]) => !lines.some((line) => fieldOf(line, field) === value))).toEqual([]);
    },
  );

  it("of the gateway's log names only fields that stand there", async () => {
    const config = await readFile(new URL("../sst.config.ts", import.meta.url), "utf8");
    const written = [...config.matchAll(/'"(\w+)":"?\$context/g)].map(([, field]) => field);
    const { fields } = understood(queries["One request at the gateway"].text);
    expect(written.length).toBeGreaterThan(5);
    expect(fields.filter((field) => !written.includes(field))).toEqual([]);
  });
});

/** What real requests log: of every endpoint, with and without the cache, Redis, Retell; of a webhook and the sweep. */
async function linesOfAllKinds(): Promise<unknown[]> {
  const wire = await aWire();
  const world = await aWorld();
  const { call, sweep: swept } = await anInstance();
  const sweep = () => swept({ until: Date.now() + 60_000, perSubaccount: 10 }, aLog("sweep"));
  const instance = { call } as Awaited<ReturnType<typeof anInstance>>;
  const where = owned(world);
  await call("list", where);
  await call("list", where);
  const chatId = await aChatBy(instance, world);
  await fault(world, "completion", { kind: "late", ms: 8_000 });
  await call("message", { ...where, chatId, body: { content: "ping" }, remainingMs: 5_300 });
  await fault(world, "retrieve", { kind: "status", status: 500 });
  await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { "internal.nextSweepAt": new Date(0) } });
  await sweep();
  await control("retell", "POST", "/clock", { advanceMs: 10_000 });
  await call("transcript", { ...where, chatId });
  await call("end", { ...where, chatId });
  const event = JSON.stringify({ event: "chat_started", chat: { chat_id: chatId } });
  const headers = { "x-retell-signature": await sign(event, world.apiKey) };
  await call("webhook", { subaccountId: world.subaccountId, body: event, headers });
  await call("delete", { ...where, chatId });
  await fault(world, "create", { kind: "status", status: 500 });
  await call("create", { ...where, body: { agentId: world.agentId } });
  await fault(world, "create", { kind: "status", status: 401 });
  await call("create", { ...where, body: { agentId: world.agentId } });
  await wire.mongo.refuse();
  await call("transcript", { ...where, chatId });
  await wire.upstash.refuse();
  await call("list", where);
  await wire.heal();
  return logged.map((line) => JSON.parse(line));
}

const words =
  /^(fields|filter|stats|latest|sort|limit|by|as|and|or|not|in|like|asc|desc|count|sum|max|min|avg|pct|bin|ispresent|strcontains)$/;

/** What a query names: fields of lines, without those that it makes itself, and the texts that they are compared with. */
function understood(text: string): { fields: string[]; comparisons: [string, unknown][] } {
  const compared = [...text.matchAll(/([a-zA-Z][\w.]*) = (?:"([^"<]*)"|(\d+))/g)];
  const made = new Set([...text.matchAll(/\bas (\w+)/g)].map(([, name]) => name));
  const names = text.replaceAll(/"[^"]*"|(?<![\w.])\d+\w*/g, " ").match(/@?[a-zA-Z][\w.]*/g) ?? [];
  return {
    fields: [...new Set(names)].filter((name) => !words.test(name) && !name.startsWith("@") && !made.has(name)),
    // Logs Insights takes true for 1.
    comparisons: compared.map(([, field = "", value, number]) => [field, value ?? Number(number) === 1]),
  };
}

function fieldOf(line: unknown, path: string): unknown {
  // biome-ignore lint/suspicious/noExplicitAny: a line is whatever was logged
  return path.split(".").reduce((value: any, name) => value?.[name], line);
}

group("what watches a stage", () => {
  const all = alarms(watched);

  it("knows our metrics by their names, with the dimensions under which they are written", () => {
    const { widgets } = JSON.parse(JSON.stringify(dashboard(watched, "us-east-1", ["an-arn"], String)));
    const shown: string[][] = widgets
      .flatMap((widget: { properties: { metrics?: unknown[][] } }) => widget.properties.metrics ?? [])
      .filter(([first]: unknown[]) => first === namespace)
      .map(([, name, ...rest]: unknown[]) => [
        name,
        ...rest.filter((part, i) => i % 2 === 0 && typeof part === "string"),
      ]);
    const alarmed = all
      .map(({ source }) => source)
      .filter((source) => source.namespace === namespace)
      .map(({ metricName, dimensions }) => [metricName, ...Object.keys(dimensions)]);
    const named = [...shown, ...alarmed].filter(([name]) => !name?.startsWith("GatewayThrottles"));
    expect(named.length).toBeGreaterThan(25);
    for (const [name, ...dimensions] of named) {
      const metric: { unit?: string; by?: string } | undefined = metrics[name as keyof typeof metrics];
      expect([name, ...dimensions]).toEqual([name, "Stage", ...(metric?.by ? [metric.by] : [])]);
    }
    // All of the list is shown somewhere; errors by code by a search.
    const seen = new Set([...named.map(([name]) => name), "Errors"]);
    expect(Object.keys(metrics).filter((name) => !seen.has(name))).toEqual([]);
  });

  it("has an alarm for the slowness of every endpoint of the API, and no two of one name", () => {
    const names = all.map(({ name }) => name);
    const slow = Object.values<Route>(routes).filter(({ path }) => path.startsWith("/api/"));
    for (const route of slow) expect(names).toContain(`slow-${route.name}`);
    expect(new Set(names).size).toBe(names.length);
  });

  it("has each alarm explained in the runbook, under a heading of its own, in as many words as its mail takes", async () => {
    const runbook = await readFile(new URL("../docs/runbook.md", import.meta.url), "utf8");
    const headings = [...runbook.matchAll(/^### (.*)$/gm)].map(([, heading]) => heading);
    for (const alarm of all) {
      const { name, severity, section = name, condition } = alarm;
      expect(headings.filter((heading) => heading === section)).toEqual([section]);
      expect(section).toMatch(/^[a-z-]+$/); // so that the heading is also its anchor
      const text = descriptionOf(alarm, runbook, "production");
      const [first, ...rest] = text.split("\n\n");
      const urgency = severity === "page" ? "Now" : "Next working day";
      expect([first, rest.at(-1)]).toEqual([`${urgency}: ${condition}.`, `docs/runbook.md#${section}`]);
      expect(rest.slice(0, -1).join().length).toBeGreaterThan(50);
      expect([name, text.length <= maxDescription]).toEqual([name, true]);
      expect(text).not.toMatch(/^#|undefined|<stage>/m);
    }
  });

  it("has the runbook name queries that are saved, and commands with what they need", async () => {
    const runbook = await readFile(new URL("../docs/runbook.md", import.meta.url), "utf8");
    const told = [...runbook.matchAll(/`([^`]*)npm run ops -- ([^`]*)`/g)].map(([all, before = "", line = ""]) => {
      const name = Object.keys(ops.rows).find((known) => `${line} `.startsWith(`${known} `));
      return { all, before, line, name };
    });
    expect(told.filter(({ name }) => name === undefined)).toEqual([]);
    for (const [name, row] of Object.entries(ops.rows)) {
      const { flags, target } = "load" in row ? (await row.load()).command : { flags: {}, target: undefined };
      const mentions = told.filter((mention) => mention.name === name);
      const isOfStage = target === stageTarget || target === stageAsFarAsKnown;
      if (isOfStage) expect([name, mentions.length > 0]).toEqual([name, true]);
      for (const { all, before, line } of mentions) {
        if (isOfStage) expect([all, before]).toEqual([all, "npx sst shell --stage <stage> -- "]);
        for (const [flag, { required }] of Object.entries<Flag>(flags)) {
          if (required) expect([all, line]).toEqual([all, expect.stringContaining(`--${flag} `)]);
        }
      }
    }
    expect(runbook).not.toMatch(/npm run [\w:]+(?<!ops|local|prove|check|build|dev|deploy|bench)\b/);
    const quoted = [...runbook.matchAll(/`([A-Z][a-z']+( [a-z']+)+)`/g)].map(([, name]) => name);
    const ofLogs = [
      "Cache not forgotten",
      "Messages could not be indexed for the search now",
      "Task timed out",
      "The sweep failed",
      "Turn settled",
      "A subaccount could not be swept",
      "A chat could not be swept",
      "Retell shows none of the subaccount's chats",
      "Retell sent what could not be read",
    ];
    expect(quoted.filter((name = "") => !(name in queries) && !ofLogs.includes(name))).toEqual([]);
    expect(Object.keys(queries).filter((name) => !runbook.includes(name))).toEqual([]);
  });
});

it("sst.config.ts asks for the version of SST that is installed: another builds no function", async () => {
  const read = (file: string) => readFile(new URL(`../${file}`, import.meta.url), "utf8");
  const { devDependencies } = JSON.parse(await read("package.json"));
  expect(/version: "(.*)"/.exec(await read("sst.config.ts"))?.[1]).toBe(devDependencies.sst);
});

group("an alarm", () => {
  const all = alarms(watched);
  const named = (name: string) => all.find((alarm) => alarm.name === name) ?? expect.fail(`There is no ${name}`);

  /** Whether a data point is beyond the threshold. `undefined`: the metric has none. */
  const isBeyond = (alarm: Alarm<string>, part: number | undefined, whole = 0, off?: number) =>
    beyond(alarm, comparedOf(alarm, { part, whole, off }));

  it("goes off where few ask and all fail, or only those who need Retell", () => {
    for (const name of ["failing", "failing-create", "failing-message", "failing-end"]) {
      expect([name, named(name).period, isBeyond(named(name), 3, 3), isBeyond(named(name), 3, 5)]).toEqual([
        name,
        3_600,
        true,
        true,
      ]);
      // Two failures, failures of half of the requests, and none.
      expect([isBeyond(named(name), 2, 2), isBeyond(named(name), 3, 6), isBeyond(named(name), undefined, 9)]).toEqual([
        false,
        false,
        false,
      ]);
    }
    expect(isBeyond(named("error-rate"), 3, 40)).toBe(true);
    expect([isBeyond(named("error-rate"), 2, 40), isBeyond(named("error-rate"), 20, 1_000)]).toEqual([false, false]);
  });

  it("is not set off by what the stage takes off as one tenant's own, and by nothing less", () => {
    for (const name of ["error-rate", "failing"]) {
      const rest = (part: number, whole: number, off: number) => isBeyond(named(name), part, whole, off);
      // A client polls a broken tenant; beside it nothing fails, two do, most do.
      expect([rest(900, 1_000, 900), rest(902, 1_000, 900), rest(960, 1_000, 900)]).toEqual([false, false, true]);
    }
  });

  it("pages for many subaccounts, and lets one wait until the next working day", () => {
    const many = named("many-subaccounts-failing");
    expect([isBeyond(many, 1, 1), isBeyond(many, 3, 200), isBeyond(many, 21, 200), isBeyond(many, 2, 2)]).toEqual([
      false,
      false,
      true,
      true,
    ]);
    const one = named("subaccounts-failing");
    expect([many.severity, one.severity, isBeyond(one, 1), isBeyond(one, 0)]).toEqual(["page", "look", true, false]);
    expect(one.period * one.periods).toBe(1_800);
  });

  it("can go off; where it cannot, a deployment says so", () => {
    expect(cannotFire(all)).toEqual([]);
    const { threshold, condition } = alarms({ ...watched, concurrencyLimit: 10 }).at(-1) as Alarm<string>;
    expect([threshold, condition]).toEqual([8, expect.stringContaining("80 % of 10 functions")]);
    const wrong = { ...named("concurrency"), threshold: 800, highest: 10 };
    expect(cannotFire([...all, wrong])).toEqual(["The alarm concurrency cannot go off: 800 is not below 10"]);
    const slower = { ...named("slow-list"), threshold: 29_000 };
    expect(cannotFire([slower])).toHaveLength(1);
  });

  it("goes off at the first request that meets a bug", () => {
    const { source } = named("internal-errors");
    expect([source.metricName, source.dimensions.Code]).toEqual(["Errors", "INTERNAL_ERROR"]);
    expect([isBeyond(named("internal-errors"), 1), isBeyond(named("internal-errors"), 0)]).toEqual([true, false]);
  });

  it("does not go off for one slow answer among a few", () => {
    const slow = all.filter(({ name }) => name.startsWith("slow-"));
    expect(slow.length).toBeGreaterThan(5);
    for (const alarm of slow) {
      expect([alarm.name, isBeyond(alarm, 29_000, 1), isBeyond(alarm, 29_000, 20)]).toEqual([alarm.name, false, true]);
    }
  });
});

group("what keeps a stage from being deployed", () => {
  const secrets = {
    SST_SECRET_MongodbUrl: "mongodb+srv://user:p%3C@cluster.example/scalai?w=majority\n",
    SST_SECRET_UpstashRedisRestUrl: "https://redis.example",
    SST_SECRET_UpstashRedisRestToken: "x",
    SST_SECRET_JwtSecret: "x",
    SST_SECRET_EncryptionKey: "x",
  };

  it("is nothing where all is set", () => {
    const fine = {
      DOMAIN: "api.example.com",
      ALARM_EMAIL: "a@b.example",
      PAGE_EMAIL: "pager@b.example",
      CORS_ORIGINS: "https://app.example.com",
      RESERVED_CONCURRENCY: "message=300,sweep=2",
      TRACING: "active",
    };
    const all = { ...secrets, ...fine, RATE_LIMIT_LIST: "10", POWERTOOLS_LOG_LEVEL: "DEBUG" };
    for (const stage of ["production", "staging"]) expect(problemsOf(all, stage)).toEqual([]);
    for (const stage of ["ada", "staging"]) expect(problemsOf(secrets, stage)).toEqual([]);
  });

  it("is said all at once: a secret with the command that sets it, a setting without its value", () => {
    const wrong = {
      RATE_LIMIT_LIST: "-7",
      RATE_LIMIT_LSIT: "10",
      ALARM_EMAIL: "nobody",
      PAGE_EMAIL: "nobody",
      RESERVED_CONCURRENCY: "massage=3",
      DOMAIN: "x",
      TRACING: "yes",
    };
    const { SST_SECRET_JwtSecret: _, ...others } = secrets;
    const problems = problemsOf({ ...others, ...wrong }, "staging");
    expect(problems[0]).toBe("secret JwtSecret is not set: npx sst secret set JwtSecret --stage staging");
    expect(problems.slice(1).map((text) => text.split(" ")[0])).toEqual([
      "RATE_LIMIT_LIST",
      "DOMAIN",
      "ALARM_EMAIL",
      "PAGE_EMAIL",
      "RESERVED_CONCURRENCY",
      "TRACING",
      "RATE_LIMIT_LSIT",
    ]);
    for (const value of ["-7", "nobody", "massage"]) expect(problems.join()).not.toContain(value);
  });

  it.each([
    ["MongodbUrl", "https://cluster.example/scalai"],
    ["MongodbUrl", "mongodb+srv://user:<db_password>@cluster.example/"],
    ["UpstashRedisRestUrl", "rediss://default:hidden@redis.example:6379"],
    ["UpstashRedisRestUrl", "redis.example"],
  ])("is a secret that can be no %s: %s", (name, value) => {
    const [problem, ...others] = problemsOf({ ...secrets, [`SST_SECRET_${name}`]: value }, "ada");
    expect(problem).toMatch(new RegExp(`^secret ${name} is malformed: Must be`));
    expect([problem?.includes(value), others]).toEqual([false, []]);
  });

  it.each([
    "https://app.example.com/app",
    "https://app.example.com?x=1",
    "https://app.example.com#top",
    "https://app.example.com//",
    "app.example.com",
    "localhost:3000",
    "//app.example.com",
    "https://app .example.com",
    "https://a.example https://b.example",
    "https://a.example;https://b.example",
    "https://*.example.com",
    "https://user@app.example.com",
    "https://app.example.com:99999",
    '"https://app.example.com"',
    "https:app.example.com",
    "https:\\\\app.example.com",
    "wss://app.example.com",
    "file:///index.html",
    "capacitor://",
    "null",
  ])("is an origin that no page has: %s", (wrong) => {
    const [problem = "", ...others] = problemsOf({ ...secrets, CORS_ORIGINS: `https://ok.example, ${wrong}` }, "ada");
    expect(problem).toMatch(/^CORS_ORIGINS is malformed: Entry 2 can never match: .*; an origin is/);
    expect([problem.includes(wrong), others]).toEqual([false, []]);
  });

  it("is a list of origins without one", () => {
    expect(problemsOf({ ...secrets, CORS_ORIGINS: " , ," }, "ada")).toEqual([
      "CORS_ORIGINS is malformed: Must name an origin: commas alone let no page call",
    ]);
  });

  it("is no origin that a page may have, in whatever spelling", () => {
    const CORS_ORIGINS = " *, https://*, HTTPS://App.Example.com:443/, capacitor://localhost, http://localhost:5173 ,";
    expect(problemsOf({ ...secrets, CORS_ORIGINS, CORS_HEADERS: "X-App-Version , x-tenant" }, "ada")).toEqual([]);
  });

  it("is a header that has no header's name", () => {
    for (const CORS_HEADERS of ["x app", "x-a, x:b", "ä"]) {
      expect(problemsOf({ ...secrets, CORS_HEADERS }, "ada")).toEqual([
        expect.stringMatching(/^CORS_HEADERS is malformed: Must be header names/),
      ]);
    }
  });

  it.each([
    ["TURN_SETTLE_SECONDS", "5"],
    ["TURN_LEASE_SECONDS", "10"],
    ["PERMISSION_CACHE_SECONDS", "61"],
  ])("is a setting that undermines a promise, with the reason: %s", (name, value) => {
    for (const more of [{}, { RETELL_BASE_URL: "http://127.0.0.1:9" }]) {
      expect(problemsOf({ ...secrets, ...more, [name]: value }, "ada")).toEqual([
        expect.stringMatching(`^${name} is malformed: `),
      ]);
    }
  });

  it("is production without anybody whom its alarms tell", () => {
    const others = { ...secrets, CORS_ORIGINS: "https://app.example.com" };
    expect(problemsOf(others, "production")).toEqual([expect.stringMatching(/^ALARM_EMAIL is not set/)]);
  });

  it.each(["", " ", "*", "https://app.example.com, *", "https://*"])(
    "is production whose API the pages of anybody may call: CORS_ORIGINS=%j",
    (CORS_ORIGINS) => {
      const others = { ...secrets, ALARM_EMAIL: "a@b.example", CORS_ORIGINS };
      expect(problemsOf(others, "production")).toEqual([expect.stringMatching(/^CORS_ORIGINS must name/)]);
      expect(problemsOf(others, "staging")).toEqual([]);
    },
  );

  it("is a setting of a stage that .env overrides, without its values", () => {
    const shared = { AWS_REGION: "us-east-1", DOMAIN: "", CORS_ORIGINS: "secret-1", TRACING: "active" };
    const own = { AWS_REGION: "us-east-1", DOMAIN: "api.example.com", CORS_ORIGINS: "secret-2", RATE_LIMIT_LIST: "7" };
    expect(overriddenSettings(shared, own, "production")).toEqual([
      "CORS_ORIGINS of .env.production has no effect: .env sets it too, and takes precedence; remove it there",
    ]);
    expect(overriddenSettings({}, own, "production")).toEqual([]);
  });

  it("is a domain or reserved functions of another stage, which its .env was written for", () => {
    const ofProduction = { DOMAIN: "api.example.com", RESERVED_CONCURRENCY: "message=300" };
    const problems = problemsOf({ ...secrets, ...ofProduction }, "ada");
    expect(problems.map((text) => text.split(" ")[0])).toEqual(["DOMAIN", "RESERVED_CONCURRENCY"]);
    for (const text of problems) expect(text).toContain(".env.production");
  });

  it("is white space where a setting is used as it stands", () => {
    const padded = {
      TRACING: "active ",
      RESERVED_CONCURRENCY: " message=300",
      DOMAIN: "api.example.com ",
      ALARM_EMAIL: " ",
    };
    const problems = problemsOf({ ...secrets, ...padded }, "production");
    for (const name of Object.keys(padded))
      expect(problems).toContainEqual(expect.stringMatching(`^${name} is malformed`));
  });

  it("is no missing JwtSecret where tokens go by a key set", () => {
    const { SST_SECRET_JwtSecret: _, ...others } = secrets;
    expect(problemsOf({ ...others, JWT_JWKS_URL: "https://id.example/jwks" }, "ada")).toEqual([]);
  });
});
