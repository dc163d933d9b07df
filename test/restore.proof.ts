import "./support/own-retell.ts";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ObjectId } from "mongodb";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import { handler as sweep } from "../functions/sweep.ts";
import { dump, restore } from "./support/backup.ts";
import { at, atRetell, read } from "./support/chats.ts";
import { spawned } from "./support/tool.ts";
import { unlimited } from "./support/without-limits.ts";
import { aChat, aWorld, call, central, control, type World } from "./support/world.ts";

// A turn that was open in the backup has a sender, as far as anybody knows, until its lease is over.
Object.assign(process.env, unlimited, { TURN_LEASE_SECONDS: "3", TURN_SETTLE_SECONDS: "13" });

/** Chats that are over, so that the figures are not those of an empty database. */
const oldChats = 5_000;
const client = central.client;

beforeAll(async () => {
  await control("retell", "PUT", "/agents/agent_patient", { begin_message: "Hello!", end_chat_after_silence_ms: null });
});

async function ops(command: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await spawned(command, [...args, "--yes"]);
  expect([code, stderr.split("\n").length]).toEqual([0, 2]);
  return stdout;
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const started = performance.now();
  const result = await work();
  console.log(`${what}: ${((performance.now() - started) / 1_000).toFixed(1)} s`);
  return result;
}

/** What a client knows of its chat: the texts that were accepted, in order. */
interface Known {
  world: World;
  chatId: string;
  accepted: string[];
}

/** A client that sends one message after the other, and repeats each with its key until it is accepted. */
function aClient(known: Known) {
  let isOver = false;
  let current = Promise.resolve();
  const codes = new Set<string>();
  const life = (async () => {
    for (let number = 0; !isOver; number++) {
      const content = `${known.chatId} ${number} ${crypto.randomUUID()}`;
      const request = {
        ...at(known.world, known.chatId),
        body: { content },
        headers: { "idempotency-key": content.slice(-36) },
      };
      for (;;) {
        const answered = call("message", request);
        current = answered.then(() => {});
        const { status, body } = await answered;
        if (status === 200) break;
        codes.add(body.code);
        if (isOver) return;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      known.accepted.push(content);
    }
  })();
  return {
    codes,
    /** Resolves when the request that runs now has its answer. */
    answered: () => current,
    async stop() {
      isOver = true;
      await life;
    },
  };
}

async function aTenant(): Promise<World> {
  const world = await aWorld({ agentId: "agent_patient" });
  const _id = new ObjectId();
  const chat = {
    subaccountId: world.subaccountId,
    agent_id: world.agentId,
    chat_status: "ended",
    start_timestamp: Date.now() - 86_400_000,
    end_timestamp: Date.now() - 86_000_000,
    messages: Array.from({ length: 20 }, (_, i) => ({
      message_id: `${_id}-${i}`,
      role: i % 2 ? "agent" : "user",
      content: "x".repeat(200),
      internal: {},
    })),
    message_count: 20,
    internal: { revision: 1, retellUserCount: 10 },
  };
  for (let done = 0; done < oldChats; done += 500) {
    await world.db
      .collection("chats")
      .insertMany(Array.from({ length: 500 }, (_, i) => ({ ...chat, chat_id: `chat_old_${_id}_${done + i}` })));
  }
  return world;
}

/** The texts of a chat's user and agent, at Retell and here. */
const textsOf = (messages: { role: string; content?: string }[]) =>
  messages.filter(({ role }) => role === "user" || role === "agent").map(({ role, content }) => [role, content]);

async function sameAsRetell(world: World): Promise<number> {
  const chats = await atRetell(world);
  for (const { chat_id, status, entries } of chats) {
    const { body } = await read(world, chat_id, { consistency: "strong" });
    expect([chat_id, body.data?.chat_status]).toEqual([chat_id, status]);
    expect(textsOf(body.data.messages)).toEqual(textsOf(entries));
  }
  return chats.length;
}

it.each([
  ["the whole stage", true],
  ["one tenant", false],
])(
  "restoring %s does no harm: nothing that Retell has is lost, and nothing is ended",
  async (_name, isWhole) => {
    const folder = await mkdtemp(join(tmpdir(), "scalai-backup-"));
    onTestFinished(() => rm(folder, { recursive: true }));
    await central.collection("subaccounts").deleteMany({});
    const tenants = [await aTenant(), await aTenant()];
    const restored = isWhole ? tenants : tenants.slice(0, 1);
    const databases = [...(isWhole ? [central.databaseName] : []), ...restored.map(({ db }) => db.databaseName)];
    const which = isWhole ? ["--all"] : ["--subaccount", String(restored[0]?.subaccountId)];

    const known: Known[] = [];
    for (const world of tenants) {
      for (let i = 0; i < 3; i++) known.push({ world, chatId: await aChat(world), accepted: [] });
    }
    const clients = known.map(aClient);
    await expect.poll(() => known.every(({ accepted }) => accepted.length > 2)).toBe(true);
    await sweep(); // it knows these databases

    const restorePoint = new Date(); // what is written while the dump runs may be in it or not
    const bytes = await timed("dump", () => dump(client, databases, folder));
    const lengths = known.map(({ accepted }) => accepted.length);

    // What the backup does not have: messages, chats, ends.
    const keyed = { body: { agentId: "agent_patient" }, headers: { "idempotency-key": crypto.randomUUID() } };
    const begun: string[] = [];
    for (const world of tenants) {
      begun.push((await call("create", { ...at(world, ""), ...keyed })).body.data.chat_id);
      const ended = await aChat(world);
      await call("message", { ...at(world, ended), body: { content: "said in the gap" } });
      await call("end", at(world, ended));
      known.push({ world, chatId: await aChat(world), accepted: [] });
    }
    const late = known.slice(-2).map(aClient);
    await expect.poll(() => known.every(({ accepted }, i) => accepted.length > (lengths[i] ?? 0) + 2)).toBe(true);

    const all = [...clients, ...late];
    await ops("pause", ...which, "--requests");
    await Promise.all(all.map(({ answered }) => answered()));
    const before = new Map(tenants.map((world) => [world, atRetell(world)]));
    await timed("restore", () => restore(client, databases, folder));
    if (isWhole) await ops("pause", ...which, "--requests");
    expect(await sweep()).toMatchObject({ orphansEnded: 0, paused: restored.length });
    const said = await timed("resume", () => ops("resume", ...which, "--restored-to", restorePoint.toISOString()));
    console.log(`${said}${(bytes / 1e6).toFixed(1)} MB in the backup`);
    expect(said.match(/3 chats of Retell stored/g)).toHaveLength(restored.length);

    const lengthsThen = known.map(({ accepted }) => accepted.length);
    await expect.poll(() => known.every(({ accepted }, i) => accepted.length > (lengthsThen[i] ?? 0) + 2)).toBe(true);
    await Promise.all(all.map(({ stop }) => stop()));
    await timed("sweep", async () => {
      for (let i = 0; i < 3; i++) expect(await sweep()).toMatchObject({ orphansEnded: 0, failed: 0 });
    });
    for (const world of tenants) {
      expect(await sameAsRetell(world)).toBe(6);
      for (const { chat_id, status } of (await before.get(world)) ?? []) {
        expect([chat_id, (await control("retell", "GET", `/chats/${chat_id}`)).status]).toEqual([chat_id, status]);
      }
    }
    for (const { world, chatId, accepted } of known) {
      const { body } = await read(world, chatId);
      const texts = textsOf(body.data.messages).flatMap(([role, content]) => (role === "user" ? [content] : []));
      expect(texts).toEqual(accepted);
    }
    for (const [index, world] of tenants.entries()) {
      const again = await call("create", { ...at(world, ""), ...keyed });
      expect([again.body.data.chat_id, again.headers["idempotent-replayed"]]).toEqual([begun[index], "true"]);
    }
    expect(all.some(({ codes }) => codes.has("SUBACCOUNT_PAUSED"))).toBe(true);
  },
  300_000,
);

it("a tenant of five thousand chats is moved", async () => {
  const world = await aTenant();
  const database = `moved_${world.subaccountId}`;
  const said = await timed("move", () =>
    ops("subaccount move", "--subaccount", world.subaccountId, "--database", database),
  );
  console.log(said);
  expect(await client.db(database).collection("chats").countDocuments()).toBe(oldChats);
}, 300_000);
