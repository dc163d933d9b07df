import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { createServer } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { isIdleSweep, readable } from "../dev/start/log-line.ts";
import { folder } from "./support/folder.ts";
import { endAll, npmStart, run } from "./support/npm-start.ts";
import { gone } from "./support/processes.ts";

describe("the end of npm start", () => {
  afterEach(endAll);

  test("SIGINT: quietly, with everything gone", async () => {
    const { family, kill, output, pid } = await npmStart(folder);
    const pids = family().map((child) => child.pid);
    expect(pids.length).toBeGreaterThanOrEqual(5);
    // Otherwise a terminal's signal ends them before we know that they are to end.
    expect(family().filter(({ group }) => group === pid)).toEqual([]);
    const before = output.stderr;
    expect(await kill("SIGINT")).toEqual({ code: 0, stdout: "", stderr: before });
    await gone(pids);
    expect(await readdir(folder)).not.toContain("start.pid");
  });

  test("a port in use is said in one line, with exit code 1, before anything is started", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const end = await run("start.ts", ["--data", folder], { PORT: String(port) }).ended;
    server.close();
    expect(end).toEqual({ code: 1, stdout: "", stderr: `Port ${port} is in use: PORT=<another> npm start\n` });
    expect(await readdir(folder)).toEqual([]);
  });
});

describe("a log line in a terminal", () => {
  const request = {
    level: "INFO",
    message: "Request",
    timestamp: "2026-11-23T10:00:00.000Z",
    operation: "create",
    status: 200,
    duration: 12,
    operationId: "7b1f6a52-3c1d-4a52-8a0e-5a1c9d3e2b10",
  };
  const shown = (fields: object) =>
    readable(JSON.stringify({ ...request, ...fields })).replace(/^\d\d:\d\d:\d\d {2}/, "");

  test("shows level, operation, status, duration and operationId", () => {
    expect(shown({})).toBe("INFO   create      200     12 ms  7b1f6a52-3c1d-4a52-8a0e-5a1c9d3e2b10");
  });

  test("of a failure shows the code and its innermost reason", () => {
    const reason = {
      name: "ApiError",
      cause: { name: "MongoNetworkError", message: "connection closed", stack: ["at x"] },
    };
    expect(shown({ level: "ERROR", message: "Request failed", status: 503, code: "CONNECTION_FAILED", reason })).toBe(
      "ERROR  create      503     12 ms  Request failed  CONNECTION_FAILED  MongoNetworkError: connection closed  7b1f6a52-3c1d-4a52-8a0e-5a1c9d3e2b10",
    );
  });

  test("is not shown of a sweep that had nothing to do", () => {
    const swept = { ...request, operation: "sweep", message: "Swept", settled: 0, orphansEnded: 0, failed: 0 };
    const isIdle = (fields: object) => isIdleSweep(JSON.stringify({ ...swept, ...fields }));
    expect([isIdle({}), isIdle({ settled: 1 }), isIdle({ orphansEnded: 1 }), isIdle({ failed: 1 })]).toEqual([
      true,
      false,
      false,
      false,
    ]);
    expect([isIdleSweep(JSON.stringify(request)), isIdleSweep("hello")]).toEqual([false, false]);
  });

  test("that is none of ours is left as it is", () => {
    for (const line of ["hello", '{"a":1}', "{broken"]) expect(readable(line)).toBe(line);
  });
});
