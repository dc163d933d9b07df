import "./support/unlimited.ts";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openTenant } from "../lib/access/tenant.ts";
import { changesSince } from "../lib/chat/changes.ts";
import type { ChatSnapshot, StoredMessage } from "../lib/chat/model.ts";
import { toStoredMessage, userMessage } from "../lib/chat/new-message.ts";
import { transcriptOf } from "../lib/chat/read.ts";
import { RevisionText } from "../lib/chat/revision.ts";
import * as chats from "../lib/chat/store/chats.ts";
import * as settling from "../lib/chat/store/settling.ts";
import * as turns from "../lib/chat/store/turns.ts";
import { visibleMessages } from "../lib/chat/view.ts";
import { at, end, read, send } from "./support/chats.ts";
import { aLog } from "./support/log.ts";
import { runs } from "./support/runs.ts";
import { aChat, aWorld, call, control, fault, type Response, type World } from "./support/world.ts";

type Shown = { seq: number; removed?: true; role?: string; content?: string; delivery?: string };

const change = (chatId: string, patch: object) => control("retell", "PATCH", `/chats/${chatId}`, patch);
const revisionOf = ({ body }: Response): string => body.meta.revision;
const strong = (world: World, chatId: string, query = {}) => read(world, chatId, { consistency: "strong", ...query });

/** What has changed since an answer, and that answer's own revision. */
async function since(world: World, chatId: string, before: Response): Promise<[Response, unknown[][]]> {
  const answer = await strong(world, chatId, { after_revision: revisionOf(before) });
  expect(answer.body.data).not.toHaveProperty("transcript");
  const changes = answer.body.data.messages.map(({ seq, removed, content, delivery }: Shown) =>
    removed ? [seq, "removed"] : [seq, content, ...(delivery ? [delivery] : [])],
  );
  return [answer, changes];
}

/** A chat with a message whose outcome is unknown. */
async function aPendingMessage(key?: string) {
  const world = await aWorld();
  const chatId = await aChat(world);
  await fault(world, "completion", { kind: "drop" });
  const headers: Record<string, string> = key ? { "idempotency-key": key } : {};
  const { status } = await call("message", { ...at(world, chatId), body: { content: "ping" }, headers });
  expect(status).toBe(504);
  return { world, chatId, pending: await strong(world, chatId) };
}

const giveUp = (world: World, chatId: string) =>
  world.db
    .collection("chats")
    .updateOne({ chat_id: chatId }, { $set: { "internal.turn.at": new Date(Date.now() - 400_000) } });

const late = [
  { role: "user", content: "ping" },
  { role: "agent", content: "late" },
];

describe("after_revision gives", () => {
  it("a pending message again once it is delivered, though its seq is not new, and the reply", async () => {
    const { world, chatId, pending } = await aPendingMessage();
    expect(pending.body.data.messages.at(-1)).toMatchObject({ seq: 2, delivery: "pending" });
    expect((await since(world, chatId, pending))[1]).toEqual([]);
    await change(chatId, { add: late });
    const [after, changes] = await since(world, chatId, pending);
    expect(changes).toEqual([
      [2, "ping"],
      [3, "late"],
    ]);
    expect((await since(world, chatId, after))[1]).toEqual([]);
  });

  it("a message that failed, then its removal, as Retell had it after all", async () => {
    const { world, chatId, pending } = await aPendingMessage();
    await giveUp(world, chatId);
    const [failed, changes] = await since(world, chatId, pending);
    expect(changes).toEqual([[2, "ping", "failed"]]);
    await change(chatId, { add: late });
    const found = [
      [2, "removed"],
      [3, "ping"],
      [4, "late"],
    ];
    expect((await since(world, chatId, failed))[1]).toEqual(found);
    // Also to whoever has slept through the failure.
    expect((await since(world, chatId, pending))[1]).toEqual(found);
  });

  it("the removal of a failed message that was sent again with its key", async () => {
    const { world, chatId } = await aPendingMessage("k1");
    await giveUp(world, chatId);
    const failed = await strong(world, chatId);
    const headers = { "idempotency-key": "k1" };
    await call("message", { ...at(world, chatId), body: { content: "ping" }, headers });
    const [, changes] = await since(world, chatId, failed);
    expect(changes).toEqual([
      [2, "removed"],
      [3, "ping"],
      [4, expect.any(String)],
    ]);
  });

  it("a text that Retell has completed, once", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await send(world, chatId);
    const chat = { chat_id: chatId };
    const collection = world.db.collection("chats");
    const [, , reply] = (await strong(world, chatId)).body.data.messages;
    await collection.updateOne(chat, { $set: { "messages.2.content": reply.content.slice(0, 3) } });
    const before = await read(world, chatId);
    expect(before.body.data.messages[2].content).toBe(reply.content.slice(0, 3));
    const [after, changes] = await since(world, chatId, before);
    expect(changes).toEqual([[3, reply.content]]);
    expect((await since(world, chatId, after))[1]).toEqual([]);
  });

  it("all of a chat that was imported since, as its messages are numbered anew, and what is gone", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    for (const content of ["one", "two"]) await send(world, chatId, content);
    const before = await strong(world, chatId);
    // The old server has its last turn alone.
    const messages = [{ role: "user", content: "old", message_id: "m-1" }];
    await change(chatId, { add: messages, status: "ended" });
    await world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { messages } });
    const [after, changes] = await since(world, chatId, before);
    expect(changes.map(([seq]) => seq)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(after.body.data.chat_status).toBe("ended");
    expect((await since(world, chatId, after))[1]).toEqual([]);
  });

  it("what is new in pages, each of which goes on where the one before ends", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const first = await strong(world, chatId);
    for (const content of ["one", "two"]) await send(world, chatId, content);
    const seqs: number[][] = [];
    let page = first;
    do {
      page = await strong(world, chatId, { after_revision: revisionOf(page), limit: "3" });
      expect(page.body.meta).not.toHaveProperty("nextSeq");
      seqs.push(page.body.data.messages.map(({ seq }: Shown) => seq));
    } while (page.body.meta.hasMore);
    expect(seqs).toEqual([[2, 3, 4], [5]]);
    // A page by limit or after_seq has seen what it shows, and no more.
    const cut = await strong(world, chatId, { limit: "2" });
    expect((await since(world, chatId, cut))[1].map(([seq]) => seq)).toEqual([3, 4, 5]);
    expect((await since(world, chatId, await strong(world, chatId, { after_seq: "3" })))[1]).toEqual([]);
  });

  it("nothing of a chat that is over and unchanged, whose revision the cache has, too", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const ongoing = await strong(world, chatId);
    await end(world, chatId);
    const [ended] = [await read(world, chatId), await read(world, chatId)];
    expect(revisionOf(await read(world, chatId))).toBe(revisionOf(ended));
    expect(revisionOf(ended)).not.toBe(revisionOf(ongoing));
    const [answer, changes] = await since(world, chatId, ongoing);
    expect([answer.body.data.chat_status, changes]).toEqual(["ended", []]);
  });

  it.each([
    ["x", "after_revision"],
    [Buffer.from("[1,2]").toString("base64url"), "after_revision"],
    [Buffer.from("[1,1,1e400,1,null]").toString("base64url"), "after_revision"],
  ])("an error for what is no revision: %s", async (after_revision, field) => {
    const { status, body } = await read(await aWorld(), "chat_any", { after_revision });
    expect([status, body.errors[0].field]).toEqual([400, field]);
  });

  it("an error together with after_seq, and no more than an answer holds for any revision", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    const revision = revisionOf(await read(world, chatId));
    const both = await read(world, chatId, { after_revision: revision, after_seq: "1" });
    expect([both.status, both.body.errors[0].field]).toEqual([400, "after_revision"]);
    const forged = Buffer.from(`[999,-${"9".repeat(15)},${"9".repeat(15)},9,7]`).toString("base64url");
    const answer = await read(world, chatId, { after_revision: forged });
    expect([answer.status, answer.lambdaBytes < 5_500_000]).toEqual([200, true]);
  });
});

type Step =
  | { do: "begin"; key: number }
  | { do: "finish" | "fail" | "mark" | "strangers" | "prepend" | "import" | "correct" }
  | { do: "find" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("begin" as const), key: fc.nat(2) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constantFrom("finish" as const, "fail", "fail", "find", "correct") }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("mark" as const, "strangers", "prepend", "import") }) },
);

const entry = (role: string, content: string, turn?: string): StoredMessage =>
  toStoredMessage({ role, content, message_id: crypto.randomUUID() }, turn);

it("whatever is written, a client that has seen any revision catches up by the chat's document alone", async () => {
  const world = await aWorld();
  const tenant = await openTenant(
    world.subaccountId,
    { databaseName: world.db.databaseName },
    { log: aLog("test"), trailing: [] },
  );
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { minLength: 4, maxLength: 30 }),
        fc.integer({ min: 1, max: 4 }),
        async (steps, limit) => {
          const chatId = await aChat(world);
          const clients: { revision: string; seen: Map<number, unknown> }[] = [];
          let chat = await chats.getOrThrow(tenant, chatId);
          for (const one of [undefined, ...steps]) {
            if (one) await write(chat, one);
            chat = await chats.getOrThrow(tenant, chatId);
            const shown = new Map<number, unknown>(
              visibleMessages(chat, true).map((message) => [message.seq, message]),
            );
            for (const { revision, seen } of clients) expect(catchUp(chat, revision, seen, limit)).toEqual(shown);
            clients.push({ revision: transcriptOf(chat, { withTools: true }).page.revision, seen: shown });
          }
        },
      ),
      { numRuns: runs(60) },
    );
  } finally {
    tenant.release();
  }

  async function write(chat: ChatSnapshot, one: Step): Promise<void> {
    const { turn, retellUserCount = 0 } = chat.internal ?? {};
    const failed = chat.messages.filter(({ internal }) => internal?.failed && internal.mayArrive);
    switch (one.do) {
      case "begin": {
        const key = one.key > 0 ? { id: `k${one.key}`, hash: "h" } : undefined;
        const id = crypto.randomUUID();
        const message = userMessage({ content: "ping" }, id, key);
        await turns.begin(tenant, chat.chat_id, { id, operationId: "o", message, leaseMs: 1 });
        return;
      }
      case "finish":
        if (turn) await turns.finish(tenant, chat.chat_id, turn.id, [entry("agent", "re", turn.id)], {});
        return;
      case "fail":
        if (turn) await turns.fail(tenant, chat.chat_id, turn.id, { mayArrive: true }, chat);
        return;
      case "mark":
        if (turn) await turns.mark(tenant, chat.chat_id, turn.id, {});
        return;
      case "find": {
        // A failed message that Retell has after all, as reconcile gives it.
        const [first] = failed.filter(
          ({ internal }) => !chat.messages.some((m) => m.internal?.supersedes === internal?.turn),
        );
        const { turn: id, key, hash } = first?.internal ?? {};
        if (!id || turn) return;
        const user = entry("user", "ping", id);
        const internal = { ...user.internal, supersedes: id, ...(key && hash ? { key, hash } : {}) };
        const found = [{ ...user, internal }, entry("agent", "late", id)];
        await settling.append(tenant, chat, found, retellUserCount + 1, undefined);
        return;
      }
      case "strangers":
        await settling.append(
          tenant,
          chat,
          [entry("user", "hi"), entry("tool_call_result", "x"), entry("agent", "ho")],
          9,
          undefined,
        );
        return;
      case "prepend":
        await settling.prepend(tenant, chat, [entry("agent", "welcome")]);
        return;
      case "correct":
        await settling.correct(tenant, chat, Math.floor(chat.messages.length / 2), { content: crypto.randomUUID() });
        return;
      case "import":
        await settling.importMessages(tenant, chat, chat.messages.slice(1), retellUserCount);
    }
  }

  /** What a client shows that asks for changes, page by page, until there are no more. */
  function catchUp(
    chat: ChatSnapshot,
    revision: string,
    seen: Map<number, unknown>,
    limit: number,
  ): Map<number, unknown> {
    const shown = new Map(seen);
    let after = revision;
    for (let pages = 0; pages < 100; pages++) {
      const window = { limit, afterRevision: RevisionText.parse(after), withTools: true };
      const { data, page } = transcriptOf(chat, window);
      for (const message of data.messages as Shown[]) {
        if (message.removed) shown.delete(message.seq);
        else shown.set(message.seq, message);
      }
      after = page.revision;
      if (!page.hasMore) break;
    }
    expect(changesSince(chat, RevisionText.parse(after), true)).toMatchObject({ changed: [], added: [] });
    return new Map([...shown].sort(([one], [other]) => one - other));
  }
});
