import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it, onTestFinished } from "vitest";
import { createClient, type RequestEvent } from "../packages/client/src/index.ts";
import { aGateway } from "./support/gateway.ts";
import { aWorld, fault } from "./support/world.ts";

it("creates a chat, sends, reads, lists and ends it", async () => {
  const [world, gateway] = await Promise.all([aWorld(), aGateway()]);
  const { subaccountId, owner, agentId } = world;
  const client = createClient({ baseUrl: gateway.url, subaccountId, token: owner.token });

  const created = await client.chats.create({ agentId });
  const chat = client.chat(created.chat_id);
  const [first, second] = await Promise.all([chat.send("ping 1"), chat.send("ping 2")]);
  expect(first.user_message.seq).toBeLessThan(second.user_message.seq);
  expect(await chat.pending()).toEqual([]);

  const { messages, meta } = await chat.transcript({ after_seq: 1 });
  const said = messages.map(({ role, content }) => `${role}: ${content}`);
  expect(said).toEqual([
    "user: ping 1",
    expect.stringMatching(/^agent/),
    "user: ping 2",
    expect.stringMatching(/^agent/),
  ]);
  expect(meta.operationId).toMatch(/^[0-9a-f-]{36}$/);
  const paged = await Array.fromAsync(chat.messages({ after: 1, limit: 1 }));
  expect(paged).toEqual(messages);

  expect(await Array.fromAsync(client.chats.list({ limit: 1 }), ({ chat_id }) => chat_id)).toEqual([chat.id]);
  expect((await chat.end()).chat_status).toBe("ended");
  await expect(chat.send("too late")).rejects.toMatchObject({ code: "CHAT_ENDED", outcome: "failed", status: 409 });
});

it("watches a chat: a message is pending, then delivered with its answer, and what has not changed is 304", async () => {
  const [world, gateway] = await Promise.all([aWorld({ agentId: "agent_quiet" }), aGateway()]);
  const { subaccountId, owner, agentId } = world;
  const statuses: number[] = [];
  const onRequest = ({ operation, status }: RequestEvent) => void (operation === "transcript" && statuses.push(status));
  const client = createClient({ baseUrl: gateway.url, subaccountId, token: owner.token });
  const watching = createClient({ baseUrl: gateway.url, subaccountId, token: owner.token, onRequest });
  const { chat_id } = await client.chats.create({ agentId });
  await fault(world, "completion", { kind: "latency", ms: 5_000 });
  const sending = client.chat(chat_id).send("ping", { clientMessageId: "bubble 1" });
  await expect.poll(async () => (await client.chat(chat_id).transcript()).messages.length).toBe(1);

  const seen: string[] = [];
  for await (const { messages, chat_status } of watching.chat(chat_id).watch()) {
    seen.push(
      messages.map(({ role, delivery, client_message_id: id }) => [role, delivery, id].join(" ").trim()).join(),
    );
    if (messages.length > 1 && chat_status === "ongoing") await watching.chat(chat_id).end();
  }
  await sending;
  expect(seen).toEqual(["user pending bubble 1", "user  bubble 1,agent", "user  bubble 1,agent"]);
  expect([statuses[0], statuses.includes(304)]).toEqual([200, true]);
});

it("finds, sums up, exports and deletes chats", async () => {
  const [world, gateway] = await Promise.all([aWorld(), aGateway()]);
  const { subaccountId, owner, agentId } = world;
  const client = createClient({ baseUrl: gateway.url, subaccountId, token: owner.token });
  const began = new Date();
  const [first, second] = await Promise.all(
    ["user 1", "user 2"].map(async (end_user_id) => {
      const { chat_id } = await client.chats.create({ agentId, end_user_id });
      const chat = client.chat(chat_id);
      await chat.send(`a refund for ${end_user_id}`);
      return chat;
    }),
  );
  if (!first || !second) throw new Error("There are no chats");
  await first.end();

  const ended = client.chats.list({ status: ["ended", "error"], agent_id: agentId, started_after: began });
  expect(await Array.fromAsync(ended, ({ end_user_id }) => end_user_id)).toEqual(["user 1"]);
  expect(await client.chats.list().total()).toEqual({ value: 2, relation: "eq" });
  expect(await Array.fromAsync(client.chats.list({ end_user_id: ["user 2", "user 3"], limit: 1 }))).toHaveLength(1);
  const found = await Array.fromAsync(client.search("refun*", { limit: 1 }));
  const marked = found.flatMap(({ matches }) =>
    matches.flatMap(({ text, highlights }) => highlights.map(([from, to]) => text.slice(from, to))),
  );
  expect([found.length, new Set(marked)]).toEqual([2, new Set(["refund"])]);
  const { totals, meta } = await client.analytics({ from: began, interval: "day", timezone: "Europe/Berlin" });
  expect([totals.chats, totals.ended, meta.timezone]).toEqual([2, 1, "Europe/Berlin"]);

  expect(await first.export("txt", { timezone: "Europe/Berlin" })).toContain("a refund for user 1");
  expect(new TextDecoder().decode(await first.export("csv", { as: "bytes" }))).toContain("a refund for user 1");

  const exporting = client.exports.create({ filter: { end_user_id: "user 2" }, format: "jsonl" });
  const lines = new TextDecoder()
    .decode(await exporting.download())
    .trim()
    .split("\n");
  expect(lines.map((line) => JSON.parse(line).chat_id)).toEqual([second.id]);
  const { export_id } = await exporting;
  expect(await client.exports.get(export_id).download({ as: "text" })).toBe(`${lines.join("\n")}\n`);
  expect((await client.exports.list()).exports).toMatchObject([{ export_id, status: "completed", rows: 1 }]);
  expect((await client.exports.cancel(export_id)).status).toBe("expired");
  await expect(client.exports.get(export_id).download()).rejects.toMatchObject({ code: "EXPORT_EXPIRED" });

  expect(await second.delete()).toMatchObject({ chat_id: second.id, deleted: true });
  expect((await second.delete()).deleted).toBe(true);
  await expect(second.transcript()).rejects.toMatchObject({ code: "CHAT_NOT_FOUND" });
});

it("the README's examples run one after another, and answer what a reader expects", async () => {
  const [world, gateway] = await Promise.all([aWorld(), aGateway()]);
  const { subaccountId, owner, agentId } = world;
  const folder = await mkdtemp(join(tmpdir(), "client-readme-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  await mkdir(join(folder, ".local"));
  const dev = { url: gateway.url, subaccountId, agentId, tokens: { owner: owner.token } };
  await writeFile(join(folder, ".local/dev.json"), JSON.stringify(dev));

  const readme = await readFile(new URL("../packages/client/README.md", import.meta.url), "utf8");
  const examples = [...readme.matchAll(/```js\n(.*?)```/gs)].map(([, lines]) => lines);
  expect(examples).toHaveLength(6);
  const client = new URL("../packages/client/src/index.ts", import.meta.url).href;
  await writeFile(join(folder, "chat.mjs"), examples.join("\n").replaceAll('"@scalai/chat"', JSON.stringify(client)));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ["chat.mjs"], { cwd: folder });
  expect([stderr, stdout]).toEqual(["", expect.stringContaining("Can I do anything else for you?")]);
  expect(stdout).toMatch(/^ongoing \d+ messages, new or changed: \d+\nended \d+ messages/m);
  expect(stdout).toMatch(/^list 401 INVALID_ACCESS_TOKEN \d+ ms [\da-f-]{36}\nlist 200 OK \d+ ms/m);
  expect(stdout).toMatch(/^user Where is my order\?$/m);
  expect(stdout).toMatch(/^chat_\S+ \[ 'Where', 'order' \]$/m);
  expect(stdout).toMatch(/^completed 1 of 1\nThe file is here$/m);
});
