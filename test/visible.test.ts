import { expect, it } from "vitest";
import { readable } from "../dev/start/log-line.ts";
import { lifeOf } from "../ops/logs/life.ts";
import { storyOf } from "../ops/logs/story.ts";
import { table } from "../ops/table.ts";

const evil =
  "agent\u001b[2K\r\n12:00:00.000  was answered 200\u0000\u0007\u009b31m\u202eok\u2066\u200b\u2028\ufeff\u{e0041}";
const shown = String.raw`agent\u001b[2K\u000d\u000a12:00:00.000  was answered 200\u0000\u0007\u009b31m\u202eok\u2066\u200b\u2028\ufeff\u{e0041}`;

const operationId = crypto.randomUUID();
const line = {
  level: "ERROR",
  message: "Request failed",
  timestamp: "2026-11-23T23:07:47.667Z",
  service: "scalai-chat",
  operationId,
  operation: "create",
  status: 404,
  code: "AGENT_NOT_FOUND",
  duration: 7,
  chatId: "chat_1",
};

it("what somebody else chose forges no line in a request's story or a chat's life", () => {
  const of = (agentId: string) => {
    const log = JSON.stringify({ ...line, agentId, reason: { name: "Error", message: agentId } });
    return [storyOf(log, operationId) ?? "", lifeOf(log, "chat_1") ?? ""];
  };
  for (const [index, told] of of(evil).entries()) {
    expect(told.split("\n")).toHaveLength(of("agent_1")[index]?.split("\n").length ?? 0);
    expect(told).not.toMatch(/[^\n\P{Cc}]|\p{Cf}|\u2028/u);
    expect(told).toContain(shown);
  }
});

it("nor in the terminal of npm start, or in a tool's table", () => {
  const plain = readable(JSON.stringify(line));
  const told = readable(JSON.stringify({ ...line, message: evil, reason: { name: "Error", message: evil } }));
  expect(told).toContain(shown);
  expect([told.includes("\n"), told.includes("\u202e"), plain.includes("\\u")]).toEqual([false, false, false]);
  expect(
    table([
      ["ok", evil],
      ["ok", "Käse 🧀", 7],
    ]),
  ).toBe(`ok  ${shown}\nok  Käse 🧀${" ".repeat(shown.length - 7)}  7`);
});
