import { expect, it } from "vitest";
import { functionsOf } from "../infra/functions.ts";
import { secrets } from "../lib/platform/config.ts";
import { tool } from "./support/tool.ts";

const all = Object.values(secrets);

it("npm run ops -- resources prints what a stage's functions are made of, and no value", async () => {
  const env = { TRACING: "active", RESERVED_CONCURRENCY: "message=300", RATE_LIMIT_LIST: "12345" };
  const { code, stdout, stderr } = await tool("resources", ["--stage", "production"], env);
  expect([code, stderr]).toEqual([0, ""]);
  const lines = stdout.split("\n").map((line) => line.split(/ {2,}/));
  const of = (name: string) => lines.find(([first]) => first === name);
  const traced = "its log; xray:PutTraceSegments, xray:PutTelemetryRecords on *";
  const path = "POST /api/chats/{subaccountId}/{chatId}/message";
  expect(of("message")).toEqual(["message", path, "1024 MB", "29 s", "300", traced, "all", expect.any(String)]);
  expect(of("message")?.at(-1)).toContain("RATE_LIMIT_LIST");
  expect(of("health")).toEqual(["health", "GET /health", "256 MB", "5 s", traced, "none", "STAGE"]);
  expect(of("sweep")?.slice(0, 4)).toEqual(["sweep", "rate(1 minute)", "1024 MB", "120 s"]);
  expect(stdout).toContain(`All secrets: ${all.join(", ")}`);
  for (const value of ["12345", process.env.MONGODB_URL, process.env.JWT_SECRET]) expect(stdout).not.toContain(value);

  expect(await tool("resources")).toMatchObject({ code: 1, stderr: expect.stringContaining("--stage") });
});

it("a function may write its log and nothing else, and what works for no subaccount knows no secret", () => {
  const DOCS_URL = "https://docs.example.com/errors";
  const set = { RATE_LIMIT_LIST: "9", DOCS_URL };
  for (const { name, on, permissions, secrets: linked, environment } of functionsOf("ada", set)) {
    const isApart = "route" in on && !on.route.includes("{subaccountId}");
    expect(permissions, name).toEqual([]);
    expect(linked, name).toEqual(isApart ? [] : all);
    expect(environment, name).toEqual({ STAGE: "ada", DOCS_URL, ...(isApart ? {} : { RATE_LIMIT_LIST: "9" }) });
  }
});
