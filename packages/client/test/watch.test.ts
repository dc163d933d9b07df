import { describe, expect, it } from "vitest";
import type { ChatView } from "../src/index.ts";
import { anApi, type Got, no, ok, type Reply, sent } from "./support/api.ts";

const said = (seq: number, more: object = {}) => ({ seq, role: "user", content: `m${seq}`, ...more });
const page = (messages: object[], meta: object = {}, more: object = {}): Reply =>
  ok({ chat_id: "c1", chat_status: "ongoing", messages, ...more }, { poll_after_ms: 1, ...meta }, { etag: '"e1"' });

/** The views of a whole watch, shortened. */
async function views(watched: AsyncIterable<ChatView>) {
  const short = ({ messages, changed, chat_status, error }: ChatView) => ({
    messages: messages.map(({ seq, delivery }) => `${seq}${delivery ? ` ${delivery}` : ""}`).join(),
    changed: changed.map(({ seq }) => seq).join(),
    ...(chat_status === "ongoing" ? {} : { chat_status }),
    ...(error && { error: error.code }),
  });
  return (await Array.fromAsync(watched)).map(short);
}

describe("a watched chat", () => {
  it("is asked for changes since the last revision, with the ETag of the same question, until it is over", async () => {
    const api = await anApi(
      page([said(1), said(2, { delivery: "pending" })], { revision: "r1" }),
      page([said(2)], { revision: "r2" }),
      page([], { revision: "r2" }),
      { status: 304 },
      page([said(3, { delivery: "pending" })], { revision: "r3" }, { chat_status: "ended" }),
      page([{ seq: 3, removed: true }, said(4)], { revision: "r4" }, { chat_status: "ended" }),
    );
    expect(await views(api.client().chat("c1").watch())).toEqual([
      { messages: "1,2 pending", changed: "1,2" },
      { messages: "1,2", changed: "2" },
      { messages: "1,2,3 pending", changed: "3", chat_status: "ended" },
      { messages: "1,2,4", changed: "4", chat_status: "ended" },
    ]);
    const asked = api.got.map(({ path, headers }) => [path.split("?")[1], headers["if-none-match"]]);
    expect(asked).toEqual([
      [undefined, undefined],
      ["after_revision=r1", undefined],
      ["after_revision=r2", undefined],
      ["after_revision=r2", '"e1"'],
      ["after_revision=r2", '"e1"'],
      ["after_revision=r3", undefined],
    ]);
  });

  it("without revisions is read whole, and its changes are found by comparing", async () => {
    const api = await anApi(
      page([said(1, { delivery: "pending" })]),
      page([said(1, { delivery: "pending" })]),
      { status: 304 },
      page([said(1), said(2)], {}, { chat_status: "ended" }),
    );
    expect(await views(api.client().chat("c1").watch())).toEqual([
      { messages: "1 pending", changed: "1" },
      { messages: "1,2", changed: "1,2", chat_status: "ended" },
    ]);
  });

  it("that is longer than an answer is read page by page, by the revision of each, or by seq", async () => {
    const over = { chat_status: "error" };
    const api = await anApi(
      page([said(1)], { revision: "r1", hasMore: true, nextSeq: 1 }),
      page([said(2)], { revision: "r2", hasMore: true }),
      page([said(3)], { revision: "r3", hasMore: false }, over),
    );
    expect(await views(api.client().chat("c1").watch())).toEqual([{ messages: "1,2,3", changed: "1,2,3", ...over }]);
    const queries = api.got.map(({ path }) => path.split("?")[1]);
    expect(queries).toEqual([undefined, "after_revision=r1", "after_revision=r2"]);

    const old = await anApi(page([said(1)], { hasMore: true, nextSeq: 1 }), page([said(2)], {}, over));
    expect(await views(old.client().chat("c1").watch())).toEqual([{ messages: "1,2", changed: "1,2", ...over }]);
    expect(old.got[1]?.path).toContain("?after_seq=1");
  });

  it("of which a later page cannot be read is read from its first page again, without an ETag", async () => {
    const first = page([said(1)], { revision: "r1", hasMore: true });
    const over = { chat_status: "ended" };
    const api = await anApi(first, no(503, "CONNECTION_FAILED"), first, page([said(2)], { revision: "r2" }, over));
    const read = await views(api.client().chat("c1").watch());
    expect(read.at(-1)).toEqual({ messages: "1,2", changed: "1,2", ...over });
    expect(api.got.map(({ headers }) => headers["if-none-match"])).toEqual(Array(4).fill(undefined));
  });

  it("of the old server has no seq until it is imported, and then each message once", async () => {
    const api = await anApi(
      page([{ role: "user", content: "a" }], { revision: "r0" }),
      page([said(1), said(2)], { revision: "r1" }, { chat_status: "ended" }),
    );
    const [, last] = await Array.fromAsync(api.client().chat("c1").watch());
    expect(last?.messages).toEqual([said(1), said(2)]);
  });

  it("that cannot be read for a while keeps its messages, says why, and goes on", async () => {
    const over = page([said(1)], { revision: "r1" }, { chat_status: "ended" });
    const api = await anApi(page([said(1)]), no(503, "CONNECTION_FAILED"), "cut", page([said(1)]), over);
    expect(await views(api.client().chat("c1").watch())).toEqual([
      { messages: "1", changed: "1" },
      { messages: "1", changed: "", error: "CONNECTION_FAILED" },
      { messages: "1", changed: "" },
      { messages: "1", changed: "", chat_status: "ended" },
    ]);
  });

  it("that may not be read is an error", async () => {
    const api = await anApi(no(403, "PERMISSION_DENIED"));
    await expect(views(api.client().chat("c1").watch())).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  it("is read again as soon as this client has sent a message, and no more after an abort", async () => {
    let seq = 0;
    const api = await anApi(({ path }: Got) =>
      path === "c1/message" ? sent(++seq) : page(seq ? [said(seq)] : [], { poll_after_ms: 3_600_000 }),
    );
    const chat = api.client().chat("c1");
    const controller = new AbortController();
    const seen: string[] = [];
    for await (const { messages } of chat.watch({ signal: controller.signal })) {
      seen.push(messages.map((message) => message.seq).join());
      if (seq < 2) await chat.send("hi");
      else controller.abort();
    }
    expect(seen).toEqual(["", "1", "2"]);
  });
});

it("a list is read page by page, when the next is needed; its filters are in every query", async () => {
  const page = (ids: string[], meta: object) =>
    ok(
      ids.map((chat_id) => ({ chat_id })),
      meta,
    );
  const api = await anApi(page(["a", "b"], { hasMore: true, nextCursor: "n=1" }), page(["c"], { hasMore: false }));
  const filter = { limit: 2, "metadata.plan": ["pro", "team"] };
  const list = api.client().chats.list(filter);
  const ids: unknown[] = [];
  for await (const { chat_id } of list) ids.push([chat_id, api.got.length]);
  expect(ids).toEqual([
    ["a", 1],
    ["b", 1],
    ["c", 2],
  ]);
  const query = "limit=2&metadata.plan=pro%2Cteam";
  expect(api.got.map(({ path }) => path)).toEqual([`list?${query}`, `list?${query}&cursor=n%3D1`]);
});

it("the server's clock is that of its answers", async () => {
  const hour = 3_600_000;
  const at = Date.now() + hour;
  const api = await anApi(ok([], { time: at }));
  const client = api.client();
  expect(Math.abs(client.serverTime() - Date.now())).toBeLessThan(1_000);
  await client.chats.list().page();
  expect(client.serverTime() - Date.now()).toBeGreaterThan(hour - 60_000);

  const headers = { date: new Date(Date.now() - hour).toUTCString() };
  const dated = (await anApi(no(404, "CHAT_NOT_FOUND", {}, headers))).client();
  await dated
    .chat("c1")
    .transcript()
    .catch(() => {});
  expect(dated.serverTime() - Date.now()).toBeLessThan(60_000 - hour);
});
