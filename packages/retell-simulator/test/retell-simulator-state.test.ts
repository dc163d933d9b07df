import { type ChildProcess, execFile, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import Retell from "retell-sdk";
import { afterAll, describe, expect, test } from "vitest";
import { load, StateFile } from "../src/state-file.ts";
import { World } from "../src/world.ts";
import { anEmptySimulator, aSimulator } from "./support/simulator.ts";

const HOUR_MS = 3_600_000;
const PROGRAM = join(import.meta.dirname, "../src/cli.ts");

const { retell, chats } = await anEmptySimulator();
const directory = await mkdtemp(join(tmpdir(), "retell-simulator-"));
afterAll(() => rm(directory, { recursive: true }));

describe("list", () => {
  const START = 1_700_000_000_000;

  /** Chats of key_one, started a second apart; every other one is of agent_b and ended. */
  const put = (count: number) =>
    Promise.all(
      Array.from({ length: count }, (_, n) =>
        retell.command("POST", "/chats", {
          key: "key_one",
          chat_id: `chat_${n}`,
          agent_id: n % 2 ? "agent_b" : "agent_a",
          version: n % 3,
          start_timestamp: START + n * 1_000,
          ...(n % 2 && { status: "ended", end_timestamp: START + n * 2_000 }),
        }),
      ),
    );
  const idsOf = async (body: Parameters<typeof chats.list>[0]) =>
    (await chats.list(body)).items.map(({ chat_id }) => chat_id);

  test("gives the newest first or last, without the words", async () => {
    await put(3);
    expect(await idsOf({})).toEqual(["chat_2", "chat_1", "chat_0"]);
    expect(await idsOf({ sort_order: "ascending" })).toEqual(["chat_0", "chat_1", "chat_2"]);
    const [item] = (await chats.list({ limit: 1 })).items;
    expect(item).toMatchObject({ chat_id: "chat_2", agent_id: "agent_a", chat_status: "ongoing" });
    expect(item).not.toHaveProperty("transcript");
    expect(item).not.toHaveProperty("message_with_tool_calls");
  });

  test("gives 50 unless told otherwise, 1000 at most", async () => {
    await put(51);
    expect(await chats.list({ include_total: true })).toMatchObject({ has_more: true, total: 51 });
    expect((await chats.list({})).items).toHaveLength(50);
    expect((await chats.list({ limit: 1_000 })).items).toHaveLength(51);
    for (const limit of [0, 1_001, 1.5]) await expect(chats.list({ limit })).rejects.toMatchObject({ status: 400 });
  });

  test("pages by key, each chat once, though new ones come meanwhile", async () => {
    await put(5);
    const first = await chats.list({ limit: 2 });
    expect(first).toMatchObject({ items: [{ chat_id: "chat_4" }, { chat_id: "chat_3" }], has_more: true });
    await chats.create({ agent_id: "agent_a" });
    const second = await chats.list({ limit: 2, pagination_key: first.pagination_key });
    expect(second.items).toMatchObject([{ chat_id: "chat_2" }, { chat_id: "chat_1" }]);
    const last = await chats.list({ limit: 2, pagination_key: second.pagination_key });
    expect(last.items).toMatchObject([{ chat_id: "chat_0" }]);
    expect(last.has_more).toBe(false);
    expect(last).not.toHaveProperty("pagination_key");
  });

  test("skips a number of chats, but not together with a key", async () => {
    await put(3);
    expect(await idsOf({ skip: 2 })).toEqual(["chat_0"]);
    const { pagination_key } = await chats.list({ limit: 1 });
    await expect(chats.list({ skip: 1, pagination_key })).rejects.toMatchObject({ status: 400 });
    await expect(chats.list({ pagination_key: "none" })).rejects.toMatchObject({ status: 400 });
  });

  test("filters by agent and version, status and times, all of which must fit", async () => {
    await put(5);
    const filtered = (filter_criteria: object) => idsOf({ filter_criteria, sort_order: "ascending" });
    expect(await filtered({ agent: [{ agent_id: "agent_b" }] })).toEqual(["chat_1", "chat_3"]);
    expect(await filtered({ agent: [{ agent_id: "agent_b", version: [0] }] })).toEqual(["chat_3"]);
    expect(await filtered({ agent: [{ agent_id: "agent_a" }, { agent_id: "agent_b" }] })).toHaveLength(5);
    expect(await filtered({ chat_status: { type: "enum", op: "in", value: ["ended"] } })).toEqual(["chat_1", "chat_3"]);
    const since = { type: "number", op: "ge", value: START + 3_000 };
    expect(await filtered({ start_timestamp: since })).toEqual(["chat_3", "chat_4"]);
    const between = { type: "range", op: "bt", value: [START, START + 2_000] };
    expect(await filtered({ end_timestamp: between })).toEqual(["chat_1"]);
    expect(await filtered({ start_timestamp: since, agent: [{ agent_id: "agent_b" }] })).toEqual(["chat_3"]);
  });

  test("refuses a filter that it does not have, and knows no chats of another key", async () => {
    await put(1);
    const filter_criteria = { metadata: { type: "string", op: "eq", value: "t1" } } as object;
    await expect(chats.list({ filter_criteria })).rejects.toMatchObject({ status: 400 });
    const other = { chat_id: { type: "string", op: "ew", value: "_0" } } as const;
    await expect(chats.list({ filter_criteria: other })).rejects.toMatchObject({ status: 400 });
    expect(await retell.sdk("key_two").list({})).toEqual({ items: [], has_more: false });
  });
});

describe("control", () => {
  test("lists what it can do, and refuses what it cannot", async () => {
    const { commands } = await retell.command("GET", "");
    expect(Object.keys(commands as object)).toContain("PATCH /_control/chats/{id}");
    await expect(retell.command("GET", "/nothing")).rejects.toThrow("404");
    await expect(retell.command("PATCH", "/settings", { endTwice: 418 })).rejects.toThrow("400");
    await expect(retell.command("PUT", "/agents/a", { ids: "seldom" })).rejects.toThrow("400");
    await expect(retell.command("POST", "/clock", { advanceMs: -1 })).rejects.toThrow("400");
  });

  test("a chat can be put in as another server has left it", async () => {
    const given = {
      key: "key_one",
      chat_id: "16b980523634a6dc504898cda492e939",
      start_timestamp: 1_700_000_000_000,
      entries: [
        { role: "agent", content: "Hello" },
        { role: "user", content: "Hi", message_id: "m2" },
      ],
    };
    await retell.command("POST", "/chats", given);
    expect(await chats.retrieve(given.chat_id)).toMatchObject({
      chat_status: "ongoing",
      start_timestamp: 1_700_000_000_000,
      message_with_tool_calls: [
        { content: "Hello", message_id: expect.any(String) },
        { content: "Hi", message_id: "m2" },
      ],
    });
    await expect(retell.command("POST", "/chats", given)).rejects.toThrow("400");
  });

  test("a chat can be changed from outside: entries, ids, status, and its being there at all", async () => {
    const { chat_id } = await chats.create({ agent_id: "agent_a" });
    const patch = (body: object) => retell.command("PATCH", `/chats/${chat_id}`, body);
    const before = (await chats.retrieve(chat_id)).message_with_tool_calls;

    await patch({
      add: [
        { role: "injected", content: "VIP" },
        { role: "user", content: "Me again" },
      ],
    });
    expect((await chats.retrieve(chat_id)).message_with_tool_calls).toMatchObject([
      { role: "agent" },
      { role: "injected", content: "VIP" },
      { role: "user", content: "Me again" },
    ]);
    await patch({ newIds: true });
    const after = (await chats.retrieve(chat_id)).message_with_tool_calls;
    expect(after?.[0]).toEqual({ ...before?.[0], message_id: expect.any(String) });
    expect(after?.[0]?.message_id).not.toBe(before?.[0]?.message_id);
    await patch({ entries: [] });
    expect(await chats.retrieve(chat_id)).toMatchObject({ message_with_tool_calls: [], transcript: "" });
    await patch({ status: "error" });
    expect(await chats.retrieve(chat_id)).toMatchObject({ chat_status: "error", end_timestamp: expect.any(Number) });
    await patch({ retained: false });
    await expect(chats.retrieve(chat_id)).rejects.toMatchObject({ status: 422 });
    expect(await retell.held(chat_id)).toMatchObject({ chat_id, retained: false });
  });

  test("requests are kept with their bodies", async () => {
    await retell.command("DELETE", "/requests");
    const retell_llm_dynamic_variables = { subaccount_id: "t1" };
    const { chat_id } = await chats.create({ agent_id: "agent_a", retell_llm_dynamic_variables });
    await chats.createChatCompletion({ chat_id, content: "ping" });
    await expect(retell.sdk("key_two").retrieve(chat_id)).rejects.toMatchObject({ status: 422 });

    expect((await retell.command("GET", "/requests?step=retrieve")).requests).toHaveLength(1);
    expect(await retell.command("GET", `/requests?chat_id=${chat_id}`)).toMatchObject({
      requests: [
        { method: "POST", path: "/create-chat", step: "create", status: 201, body: { retell_llm_dynamic_variables } },
        { step: "completion", key: "key_one", body: { content: "ping" } },
        { method: "GET", step: "retrieve", key: "key_two", status: 422 },
      ],
    });
  });

  test("a setting stays until it is set again, for all workspaces and for one", async () => {
    await retell.settings({ endTwice: 204 });
    await retell.settings({ key: "key_one", openingInCreate: false });
    await retell.settings({ key: "key_one", together: "interleave" });
    await retell.settings({ invalidKeys: { key_two: 401 } });
    expect(await retell.settings({ key: "key_one" })).toEqual({
      endTwice: 204,
      completionAfterEnd: 422,
      openingInCreate: false,
      together: "interleave",
      customAttributes: [],
      invalidKeys: { key_two: 401 },
    });
  });

  test("a reset forgets chats, agents, settings and faults, but never goes back in time", async () => {
    const { chat_id } = await chats.create({ agent_id: "agent_a" });
    await retell.agent("agent_a", { opening: "none" });
    await retell.settings({ openingInCreate: false });
    await retell.fault({ step: "any", kind: "drop", count: 0 });
    await retell.advance(HOUR_MS);
    const { offsetMs } = await retell.command("GET", "/clock");
    await retell.command("DELETE", "/chats");
    await expect(chats.retrieve(chat_id)).rejects.toMatchObject({ status: 422 });
    expect((await chats.create({ agent_id: "agent_a" })).message_with_tool_calls).toHaveLength(1);
    expect(await retell.command("GET", "/clock")).toMatchObject({ offsetMs });
  });
});

describe("what lasts", () => {
  test("a seed makes the ids the same each time; without one they differ", async () => {
    const idsWith = async (seed?: number) => {
      const other = await aSimulator({ seed });
      const chat = await other.sdk().create({ agent_id: "agent_a" });
      await other.stop();
      return [chat.chat_id, chat.message_with_tool_calls?.[0]?.message_id];
    };
    expect(await idsWith(5)).toEqual(await idsWith(5));
    expect(await idsWith(5)).not.toEqual(await idsWith(6));
    expect(await idsWith()).not.toEqual(await idsWith());
  });

  test("with a state file chats outlive the server, and what was due for them still comes", async () => {
    const options = { stateFile: join(directory, "restart/state.json"), seed: 1 };
    const first = await aSimulator(options);
    const { chat_id } = await first.sdk().create({ agent_id: "agent_tidy", metadata: { tenant: "t1" } });
    await first.agent("agent_tidy", { auto_close_message: "Closed." });
    await first.settings({ endTwice: 204 });
    await first.advance(HOUR_MS / 2);
    await first.fault({ step: "completion", kind: "lateReply", replyAfterMs: 60_000 });
    void first
      .sdk()
      .createChatCompletion({ chat_id, content: "ping" })
      .catch(() => {});
    await first.arrived("completion");
    await first.stop();

    const second = await aSimulator(options);
    expect(await second.sdk().retrieve(chat_id)).toMatchObject({
      metadata: { tenant: "t1" },
      transcript: expect.stringMatching(/User: ping\n$/),
    });
    await second.advance(60_000);
    expect((await second.sdk().retrieve(chat_id)).transcript).toMatch(/Agent: You said: ping \(message 1\)\n$/);
    await second.advance(HOUR_MS);
    expect((await second.sdk().retrieve(chat_id)).transcript).toMatch(/Agent: Closed.\n$/);
    await second.sdk().end(chat_id);
    expect((await second.sdk().create({ agent_id: "agent_a" })).chat_id).not.toBe(chat_id);
    await second.stop();
  });

  test("whoever reads the state file while it is written finds one whole state", async () => {
    const file = join(directory, "atomic.json");
    const world = new World({ seed: 1 });
    const chat = world.add("key_one", "agent_a", { metadata: { long: "x".repeat(500_000) } });
    const states = new StateFile(file, () => world.save());
    await states.save();
    for (let n = 0; n < 20; n++) {
      world.append(chat, [{ role: "user", content: `${n}` }]);
      const saving = states.save();
      expect((await load(file))?.chats).toMatchObject([{ chat_id: chat.chat_id }]);
      await saving;
      expect((await load(file))?.chats[0]?.entries).toHaveLength(n + 1);
    }
    world.clock.stop();
  });

  test("a state file that holds something else is named and left alone", async () => {
    const stateFile = join(directory, "other.json");
    await writeFile(stateFile, '{"chats": "none"}');
    await expect(aSimulator({ stateFile })).rejects.toThrow(stateFile);
    expect(await readFile(stateFile, "utf8")).toBe('{"chats": "none"}');
  });
});

describe("as a process", () => {
  const started = async (...args: string[]) => {
    // Without the runner's own flags: the program runs as anybody would run it.
    const child = fork(PROGRAM, args, { execArgv: [], stdio: "ignore" });
    const [{ ready }] = (await once(child, "message")) as [{ ready: { url: string; control: string } }];
    return { child, ...ready };
  };
  const ended = async (child: ChildProcess, end: () => void) => {
    const exit = once(child, "exit");
    end();
    return (await exit) as [number | null, string | null];
  };

  test("it says where it listens, and ends with its parent", async () => {
    const { child, url, control } = await started();
    expect(control).toBe(`${url}/_control`);
    expect(new URL(url).hostname).toBe("127.0.0.1");
    expect(await ended(child, () => child.disconnect())).toEqual([0, null]);
  });

  test("SIGTERM saves all; SIGKILL leaves a file that can be read", async () => {
    const state = join(directory, "process.json");
    const first = await started("--state", state);
    const sdkOf = ({ url }: { url: string }) => new Retell({ apiKey: "key_one", baseURL: url, maxRetries: 0 }).chat;
    const { chat_id } = await sdkOf(first).create({ agent_id: "agent_a" });
    await ended(first.child, () => first.child.kill("SIGTERM"));

    const second = await started("--state", state);
    await Promise.all(Array.from({ length: 50 }, () => sdkOf(second).create({ agent_id: "agent_a" })));
    expect(await ended(second.child, () => second.child.kill("SIGKILL"))).toEqual([null, "SIGKILL"]);

    const third = await started("--state", state);
    expect(await sdkOf(third).retrieve(chat_id)).toMatchObject({ chat_id });
    await ended(third.child, () => third.child.kill("SIGTERM"));
  });

  test.each([
    ["a port in use", () => ["--port", new URL(retell.url).port], /^retell-simulator: port \d+ is in use.*\n$/],
    [
      "a port that is none",
      () => ["--port", "http"],
      /^retell-simulator: --port must be an integer from 0 to 65535\n$/,
    ],
    ["an option it does not know", () => ["--prot", "1"], /^retell-simulator: Unknown option '--prot'.*\n$/],
  ])("%s is one clear line and status 1", async (_, args, line) => {
    const run = promisify(execFile)(process.execPath, [PROGRAM, ...args()]);
    await expect(run).rejects.toMatchObject({ code: 1, stdout: "", stderr: expect.stringMatching(line) });
  });

  test("by hand it tells where it listens, how to point the SDK at it, what to say, and how to script a fault", async () => {
    const child = execFile(process.execPath, [PROGRAM]);
    let text = "";
    for await (const chunk of child.stdout ?? []) {
      text += chunk;
      if (text.includes("  more")) break;
    }
    await ended(child, () => child.kill("SIGINT"));
    for (const word of ["RETELL_BASE_URL=http://127.0.0.1:", "agent_quiet", "refund", "/_control/faults -d"]) {
      expect(text).toContain(word);
    }
  });
});
