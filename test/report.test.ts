import { describe, expect, it } from "vitest";
import { load } from "../dev/seed/load.ts";
import { ensureIndexes } from "../lib/platform/indexes.ts";
import { spread, tally, weekOf } from "../ops/report/tally.ts";
import { chatsOf } from "../ops/report.ts";
import { table } from "../ops/table.ts";
import { tool } from "./support/tool.ts";
import { aChat, aWorld, call } from "./support/world.ts";

const hourMs = 3_600_000;
const chat = (id: number, more: object = {}) => ({
  chat_id: `chat_${id}`,
  agent_id: "agent_a",
  chat_status: "ended",
  start_timestamp: 0,
  end_timestamp: id * 1_000,
  message_count: id,
  bytes: id * 100,
  ...more,
});

describe("a spread", () => {
  it("is min, mean, nearest-rank percentiles and max", () => {
    const values = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect(spread(values)).toEqual({ count: 100, sum: 5_050, min: 1, avg: 50.5, p50: 50, p95: 95, max: 100 });
    expect(spread([7])).toEqual({ count: 1, sum: 7, min: 7, avg: 7, p50: 7, p95: 7, max: 7 });
    expect(spread([])).toEqual({ count: 0, sum: 0, min: 0, avg: 0, p50: 0, p95: 0, max: 0 });
  });
});

describe("a tally", () => {
  it("counts durations of ended chats, and every chat by status, agent and week", async () => {
    const counted = await tally([
      chat(1),
      chat(3, { start_timestamp: 7 * 24 * hourMs, end_timestamp: 7 * 24 * hourMs + 9_000 }),
      chat(5, { chat_status: "ongoing", end_timestamp: null, agent_id: "agent_b" }),
      chat(7, { chat_status: "error" }),
    ]);
    expect(counted).toMatchObject({
      chats: 4,
      byStatus: { ended: 2, ongoing: 1, error: 1 },
      durationMs: { count: 2, min: 1_000, avg: 5_000, max: 9_000 },
      messagesPerChat: { count: 4, min: 1, avg: 4, p50: 3, max: 7 },
      topAgents: [
        { agentId: "agent_a", chats: 3, messages: 11 },
        { agentId: "agent_b", chats: 1, messages: 5 },
      ],
      weeks: [
        { week: "1970-01-05", chats: 1, messages: 3 },
        { week: "1969-12-29", chats: 3, messages: 13 },
      ],
    });
  });

  it("keeps the ten largest chats and agents, and twelve weeks", async () => {
    const many = Array.from({ length: 100 }, (_, i) =>
      chat((i * 37) % 100, { agent_id: `agent_${i}`, start_timestamp: i * 7 * 24 * hourMs }),
    );
    const { largest, topAgents, weeks } = await tally(many);
    expect(largest.map(({ bytes }) => bytes)).toEqual([99, 98, 97, 96, 95, 94, 93, 92, 91, 90].map((n) => n * 100));
    expect(topAgents).toHaveLength(10);
    expect([weeks.length, weeks[0]?.week]).toEqual([12, weekOf(99 * 7 * 24 * hourMs)]);
  });

  it("takes documents as odd as the old server's", async () => {
    const odd = await tally([{ chat_id: "chat_x", bytes: 10, start_timestamp: null, message_count: null }]);
    expect(odd).toMatchObject({ chats: 1, byStatus: { unknown: 1 }, durationMs: { count: 0 }, weeks: [] });
  });

  it.each([
    ["2026-11-23T00:00:00Z", "2026-11-23"],
    ["2026-11-29T23:59:59Z", "2026-11-23"],
    ["2026-11-30T00:00:00Z", "2026-11-30"],
    ["1969-12-31T00:00:00Z", "1969-12-29"],
  ])("begins its weeks on Monday: %s", (time, week) => {
    expect(weekOf(Date.parse(time))).toBe(week);
  });
});

it("a table's columns are as wide as their widest cell, numbers to the right", () => {
  expect(
    table([
      ["name", "n"],
      ["a longer one", 5],
      ["b", 10],
    ]),
  ).toBe("name          n\na longer one   5\nb             10");
});

describe("npm run ops -- report", () => {
  it("reads the chats of its subaccount alone, by an index", async () => {
    const [world, other] = [await aWorld(), await aWorld()];
    await ensureIndexes(world.db, "tenant");
    await load(process.env.MONGODB_URL ?? "", { subaccountId: world.subaccountId, chats: 30, messages: 2, seed: 1 });
    await world.db
      .collection("chats")
      .insertMany([...Array(50)].map((_, i) => ({ ...chat(i), subaccountId: other.subaccountId })));
    const { executionStats, queryPlanner } = await chatsOf(world.db, world.subaccountId).explain("executionStats");
    expect(JSON.stringify(queryPlanner.winningPlan)).toContain('"stage":"IXSCAN"');
    expect(executionStats).toMatchObject({ nReturned: 30, totalDocsExamined: 30, totalKeysExamined: 30 });
  });

  it("prints the same as a table and as JSON", async () => {
    const world = await aWorld();
    const { subaccountId, owner } = world;
    const [chatId] = [await aChat(world), await aChat(world)];
    await call("message", { token: owner.token, subaccountId, chatId, body: { content: "ping" } });
    await call("end", { token: owner.token, subaccountId, chatId });

    const json = await tool("report", ["--subaccount", subaccountId.toUpperCase(), "--json"]);
    expect(json.code).toBe(0);
    const report = JSON.parse(json.stdout);
    expect(report).toMatchObject({
      subaccountId,
      chats: 2,
      byStatus: { ongoing: 1, ended: 1 },
      durationMs: { count: 1 },
      messagesPerChat: { count: 2, min: 1, max: 3, avg: 2 },
      topAgents: [{ agentId: world.agentId, chats: 2, messages: 4 }],
      largest: [{ chatId, messages: 3 }, { messages: 1 }],
      collection: { chats: 2 },
    });
    expect(report.weeks.reduce((sum: number, { chats }: { chats: number }) => sum + chats, 0)).toBe(2);
    expect(report.collection.bytes).toBe(report.largest[0].bytes + report.largest[1].bytes);

    const { code, stdout } = await tool("report", ["--subaccount", subaccountId]);
    expect(code).toBe(0);
    expect(stdout).toContain(`Subaccount ${subaccountId}: 2 chats`);
    expect(stdout).toMatch(new RegExp(`${chatId} +${report.largest[0].bytes} +3`));
    expect(stdout).toMatch(/messages per chat +2 +1 +2 +1 +3 +3/);
  });

  it("has something to say of a subaccount without chats, and of one that does not exist", async () => {
    const { subaccountId } = await aWorld();
    expect(await tool("report", ["--subaccount", subaccountId])).toMatchObject({ code: 0 });
    const id = "5ca1ab1e00000000000000ff";
    expect(await tool("report", ["--subaccount", id])).toEqual({
      code: 1,
      stdout: "",
      stderr: expect.stringMatching(/^Stage test[^\n]*\nThere is no subaccount \w+\n$/),
    });
  });
});
