import { readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Graph } from "../dev/dashboard/definition.ts";
import { Definition } from "../dev/dashboard/definition.ts";
import { drawn } from "../dev/dashboard/draw.ts";
import { evaluate } from "../dev/dashboard/math.ts";
import { ticksOf, timeTicksOf } from "../dev/dashboard/scale.ts";
import { measuredIn, type Series, seriesOf } from "../dev/dashboard/series.ts";
import { definitionOf, windowOf } from "../dev/dashboard.ts";
import { namespace } from "../lib/platform/metrics.ts";
import { metered } from "./support/instance.ts";
import { tool } from "./support/tool.ts";
import { aWorld, call } from "./support/world.ts";

const window = { from: 60_000, until: 240_000, periodMs: 60_000 };

/** A line as lib/platform/metrics.ts writes it. */
function line(at: number, values: Record<string, number | number[]>, by: Record<string, string> = {}): string {
  const fields = { Stage: "local", ...by };
  const Metrics = Object.keys(values).map((Name) => ({ Name, Unit: "Count" }));
  const directive = { Namespace: namespace, Dimensions: [Object.keys(fields)], Metrics };
  return JSON.stringify({ _aws: { Timestamp: at, CloudWatchMetrics: [directive] }, ...fields, ...values });
}

/** Of the deployed dashboard, by its title. */
function graphOf(title: string): Graph["properties"] {
  for (const widget of definitionOf("local").widgets) {
    if (widget.type === "metric" && widget.properties.title === title) return widget.properties;
  }
  throw new Error(`There is no ${title}`);
}

const shown = (title: string, lines: string[]) => seriesOf(graphOf(title), measuredIn(lines), window);
const pointsOf = (series: Series[], label: string) => {
  const points = series.find((each) => each.label === label)?.points;
  return points && [...points];
};

describe("the dashboard, from the local log", () => {
  it("adds up what was counted in a period, which begins at its first moment and ends before the next", () => {
    const at = [59_999, 60_000, 90_000, 119_999, 120_000, 240_000];
    const series = shown(
      "Chats created, messages sent",
      at.map((each) => line(each, { ChatsCreated: 1, MessagesSent: 2 })),
    );
    expect(pointsOf(series, "ChatsCreated")).toEqual([
      [60_000, 3],
      [120_000, 1],
    ]);
    expect(pointsOf(series, "MessagesSent")?.[0]).toEqual([60_000, 6]);
  });

  it("takes percentiles, means and maxima over all samples of a period, several of one line too", () => {
    const durations = Array.from({ length: 99 }, (_, i) => 99 - i);
    const lines = [
      line(61_000, { Duration: durations.slice(0, 60) }, { Operation: "create" }),
      line(62_000, { Duration: durations.slice(60) }, { Operation: "create" }),
      line(61_000, { OldestOpenTurn: 7 }),
      line(62_000, { OldestOpenTurn: 40 }),
      line(61_000, { MessagesPerChat: [2, 5], ChatCost: [1, 2] }),
    ];
    const create = "POST /api/chats/{subaccountId}/create";
    expect(pointsOf(shown("95 % of answers within, ms", lines), create)).toEqual([[60_000, 95]]);
    expect(pointsOf(shown("Half of answers within, ms", lines), create)).toEqual([[60_000, 50]]);
    expect(pointsOf(shown("Turns of unknown outcome", lines), "Age of the oldest, s")).toEqual([[60_000, 40]]);
    expect(pointsOf(shown("A chat: duration in s, and messages", lines), "MessagesPerChat")).toEqual([[60_000, 3.5]]);
    expect(pointsOf(shown("Cost, US cents", lines), "in all")).toEqual([[60_000, 3]]);
  });

  it("keeps apart what has another dimension or stage", () => {
    const lines = [
      line(61_000, { Errors: 1 }, { Code: "INVALID_SIGNATURE" }),
      line(61_000, { Errors: 5 }, { Code: "TIMEOUT" }),
      line(61_000, { Errors: 9 }, { Code: "INVALID_SIGNATURE", Stage: "production" }),
      line(61_000, { Errors: 9 }, { Code: "INVALID_SIGNATURE", Operation: "webhook" }),
    ];
    expect(pointsOf(shown("Failures of what we depend on", lines), "Webhook signatures")).toEqual([[60_000, 1]]);
    expect(shown("Errors by code", lines).map(({ label, points }) => [label, ...(points?.values() ?? [])])).toEqual([
      ["INVALID_SIGNATURE", 1],
      ["TIMEOUT", 5],
    ]);
  });

  it("computes the cache's hit rate with nothing where nothing was read", () => {
    const lines = [
      line(61_000, { CacheHits: 3 }, { Operation: "list" }),
      line(61_000, { CacheMisses: 1 }, { Operation: "list" }),
      line(181_000, { CacheMisses: 2 }, { Operation: "list" }),
    ];
    expect(pointsOf(shown("Cache hit rate, %", lines), "list")).toEqual([
      [60_000, 75],
      [180_000, 0],
    ]);
    expect(pointsOf(shown("Cache hit rate, %", lines), "transcript")).toEqual([]);
  });

  it("tells a metric that had nothing to count from one that AWS keeps", () => {
    expect(shown("Chats created, messages sent", []).map(({ points }) => points?.size)).toEqual([0, 0]);
    for (const title of ["Requests", "Refused before a function ran"]) {
      expect(shown(title, []).map(({ points }) => points)).not.toContainEqual(expect.anything());
    }
  });

  it("does not take AWS's metric of the same name for ours", () => {
    const graph = graphOf("Half of answers within, ms");
    const ofLambda = { ...graph, metrics: graph.metrics.map((each) => ({ ...each, namespace: "AWS/Lambda" })) };
    const store = measuredIn([line(61_000, { Duration: 1 }, { Operation: "create" })]);
    expect(seriesOf(graph, store, window)[0]?.points?.size).toBe(1);
    expect(seriesOf(ofLambda, store, window)[0]?.points).toBe(undefined);
  });

  it("passes over other lines, and one that was cut short", () => {
    const whole = line(61_000, { ChatsCreated: 1 });
    const store = measuredIn(["", '{"level":"INFO"}', '{"_aws":{}}', whole, whole.slice(0, -20)]);
    expect([...store.values()]).toMatchObject([{ name: "ChatsCreated", samples: [{ at: 61_000, value: 1 }] }]);
  });

  it("reads what a real request has counted", async () => {
    const world = await aWorld();
    const body = { agentId: world.agentId };
    const { status } = await call("create", { token: world.owner.token, subaccountId: world.subaccountId, body });
    expect(status).toBe(200);
    const store = measuredIn(metered);
    const window = windowOf(store, 180, 3_600) ?? { from: 0, until: 0, periodMs: 1 };
    const stage = process.env.STAGE || "local";
    const [graph] = definitionOf(stage).widgets.flatMap((widget) =>
      widget.type === "metric" && widget.properties.title.startsWith("Chats created") ? [widget.properties] : [],
    );
    const [created] = graph ? seriesOf(graph, store, window) : [];
    expect([...(created?.points?.values() ?? [])].reduce((sum, value) => sum + value, 0)).toBe(1);
  });
});

describe("metric math", () => {
  const times = [0, 1, 2];
  const series = new Map([
    [
      "a",
      new Map([
        [0, 6],
        [1, 8],
      ]),
    ],
    [
      "b",
      new Map([
        [0, 2],
        [1, 0],
        [2, 5],
      ]),
    ],
  ]);

  it("goes by the usual order, and has no value where an operand has none or the divisor is 0", () => {
    expect([...evaluate("2 + 3 * (a - 1)", series, times)]).toEqual([
      [0, 17],
      [1, 23],
    ]);
    expect([...evaluate("a - 1 - 1", series, times)]).toEqual([
      [0, 4],
      [1, 6],
    ]);
    expect([...evaluate("a / b", series, times)]).toEqual([[0, 3]]);
    expect([...evaluate("FILL(a, 0) + b", series, times).values()]).toEqual([8, 8, 5]);
  });

  it.each(["a b", "c + 1", "RATE(a)", "FILL(a, REPEAT)", "(a", "1 + 1", ""])(
    "refuses what it does not know: %s",
    (text) => {
      expect(() => evaluate(text, series, times)).toThrow("cannot be computed here");
    },
  );
});

describe("the picture", () => {
  const lines = [line(61_000, { ChatsCreated: 3 }), line(61_000, { Errors: 1 }, { Code: "TIMEOUT" })];

  it("has every widget of the definition, every alarm, and every series by its name", () => {
    const definition = definitionOf("local");
    const store = measuredIn(lines);
    const svg = drawn("A dashboard", definition, store, window);
    expect(definition.widgets.length).toBeGreaterThan(10);
    for (const { type, properties } of definition.widgets) {
      const names =
        type === "alarm" ? properties.alarms : seriesOf(properties, store, window).map(({ label }) => label);
      expect(names.length).toBeGreaterThan(0);
      for (const name of [properties.title, ...names]) expect(svg).toContain(`>${name}`);
    }
    expect(svg).toContain(">ConcurrentExecutions (not computed locally)<");
    expect(svg).toContain(">MongoFailures (no data)<");
    expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  });

  it("is refused for a widget that it cannot draw as it is meant", () => {
    const { widgets } = definitionOf("local");
    const [states, ...graphs] = widgets;
    expect(() => Definition.parse({ widgets: [{ ...states, type: "text" }] })).toThrow();
    const properties = { ...graphs[0]?.properties, metrics: [], annotations: {} };
    expect(() => Definition.parse({ widgets: [{ ...graphs[0], properties }] })).toThrow("annotations");
  });

  it("has round numbers at its axes", () => {
    expect(ticksOf(0, 47)).toEqual([0, 10, 20, 30, 40, 50]);
    expect(ticksOf(0, 100)).toEqual([0, 20, 40, 60, 80, 100]);
    expect(ticksOf(0, 0.3)).toEqual([0, 0.1, 0.2, 0.3]);
    expect(ticksOf(0, 0)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(timeTicksOf(60_000, 240_000).map(({ label }) => label)).toEqual([
      "00:01:00",
      "00:01:30",
      "00:02:00",
      "00:02:30",
      "00:03:00",
      "00:03:30",
      "00:04:00",
    ]);
  });

  it("is of the log's last minutes, and says in one line that a log cannot be read or holds nothing", async () => {
    const log = join(tmpdir(), `${crypto.randomUUID()}.log`);
    const out = `${log}.svg`;
    const run = (...args: string[]) =>
      tool("../dev/dashboard.ts", ["--log", log, "--out", out, ...args], { STAGE: "local" });
    try {
      expect(await run()).toMatchObject({ code: 1, stderr: expect.stringContaining("cannot be read") });
      await writeFile(log, "\n");
      expect(await run()).toMatchObject({ code: 1, stderr: expect.stringContaining("no metrics yet") });
      await writeFile(log, [...lines, line(600_000, { ChatsCreated: 1 })].join("\n"));
      expect(await run("--minutes", "x")).toMatchObject({ code: 1, stderr: expect.stringContaining("--minutes is x") });
      expect(await run("--minutes", "2", "--period", "60")).toMatchObject({ code: 0 });
      expect(await readFile(out, "utf8")).toContain("1970-01-01 00:08:00 to 00:11:00 UTC");
    } finally {
      await Promise.all([rm(log, { force: true }), rm(out, { force: true })]);
    }
  });
});
