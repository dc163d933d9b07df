import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { ListFilter } from "../src/index.ts";
import { anApi, type Got, no, ok } from "./support/api.ts";

describe("a list", () => {
  const page = (ids: string[], meta: object) => ok(ids.map((chat_id) => ({ chat_id })) as object, meta);

  it("goes on after a page that the API has cut short, and counts its total once", async () => {
    const cut = { hasMore: true, nextCursor: "a", partial: true };
    const api = await anApi(page([], cut), page(["c1"], { hasMore: true, nextCursor: "b" }), page(["c2"], {}));
    const filter: ListFilter = {
      ...{ status: ["ended", "error"], successful: true, end_user_id: "user ä", "metadata.plan": ["a", 1] },
      ...{ started_after: new Date(1_700_000_000_000), started_before: undefined, include: "total" },
    };
    const found = await Array.fromAsync(api.client().chats.list(filter), ({ chat_id }) => chat_id);
    expect(found).toEqual(["c1", "c2"]);
    const asked =
      "list?status=ended%2Cerror&successful=true&end_user_id=user%20%C3%A4&metadata.plan=a%2C1&started_after=1700000000000";
    expect(api.got.map(({ path }) => path)).toEqual([
      `${asked}&include=total`,
      `${asked}&cursor=a`,
      `${asked}&cursor=b`,
    ]);
  });

  it("of filters that the API does not know is an error, as it has other chats than those asked for", async () => {
    const api = await anApi(page(["c1"], { ignored: ["plan"] }));
    const error = await api
      .client()
      .chats.list({ plan: 1 } as ListFilter)
      .page()
      .catch((thrown) => thrown);
    expect(error).toMatchObject({
      name: "ValidationError",
      code: "FILTER_IGNORED",
      message: expect.stringMatching("plan"),
    });
  });

  it.each<[string, ListFilter]>([
    ["no value", { agent_id: [] }],
    ["an empty value", { end_user_id: ["a", ""] }],
    ["a value with a comma, which the API takes for two", { end_user_id: "Doe, John" }],
  ])("of a filter with %s is not asked for", async (_, filter) => {
    const api = await anApi(page(["c1"], {}));
    const [field] = Object.keys(filter);
    const errors = await Promise.all(
      [api.client().chats.list(filter), api.client().search("word", filter)].map((chats) =>
        chats.page().catch((thrown) => thrown),
      ),
    );
    errors.push(
      await api
        .client()
        .exports.create({ filter, format: "csv" })
        .catch((thrown) => thrown),
    );
    for (const error of errors) expect(error).toMatchObject({ code: "VALIDATION_ERROR", fields: [{ field }] });
    expect(api.got).toEqual([]);
  });
});

describe("an export", () => {
  const content = "\uFEFFäöü\r\n";
  const sha256 = createHash("sha256").update(content).digest("hex");
  const of = (url: string, more: object) =>
    ok({ export_id: "e1", status: "completed", sha256, download_url: url, error: null, ...more });

  /** An API whose export answers have these fields, and whose file these answers, one after another. */
  async function anExport(states: object[], files: Parameters<typeof anApi>[0][]) {
    let url = "";
    const [state, file] = [nextOf(states), nextOf(files)];
    const answer = (got: Got) =>
      got.path.startsWith("/file") ? (file() as never) : of(`${url}/file?${api.got.length}`, state());
    const api = await anApi(answer);
    const client = api.client({ fetch: (to, init) => fetch(to, init) });
    url = api.baseUrl;
    return { api, client, asked: () => api.got.map(({ method, path }) => `${method} ${path}`) };
  }
  /** The last one again and again. */
  const nextOf = <One>(all: One[]) => {
    let at = 0;
    return () => all[Math.min(at++, all.length - 1)] as One;
  };

  it("is waited for and read, again with a new link while a link has expired or the file is damaged", async () => {
    const { client, asked, api } = await anExport(
      [{ status: "pending" }, { status: "running", rows: 1 }, { status: "completed" }],
      [{ status: 403 } as never, { body: content.slice(1) } as never, { body: content } as never],
    );
    const seen: string[] = [];
    const bytes = await client.exports
      .create({ filter: { status: "ended" }, format: "csv" })
      .download({ onProgress: ({ status }) => seen.push(status) });
    expect(Buffer.from(bytes).toString()).toBe(content);
    expect(seen).toEqual(["pending", "running", "completed", "completed", "completed"]);
    expect(asked()).toEqual([
      ...["POST exports", "GET exports/e1", "GET exports/e1", "GET /file?3"],
      ...["GET exports/e1", "GET /file?5", "GET exports/e1", "GET /file?7"],
    ]);
    expect(api.got[0]).toMatchObject({ body: { filter: { status: "ended" }, format: "csv" } });
    expect(api.keys()[0]).toMatch(/^[\da-f-]{36}$/);
    const ofFiles = api.got.filter(({ path }) => path.startsWith("/file"));
    expect(ofFiles.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined, undefined]);
  });

  it("is given up when it has failed or was canceled, and its file has expired", async () => {
    const error = { code: "EXPORT_FAILED", message: "Its file could not be written" };
    for (const [status, code] of Object.entries({
      failed: "EXPORT_FAILED",
      canceled: "EXPORT_CANCELED",
      expired: "EXPORT_EXPIRED",
    })) {
      const { client } = await anExport(
        [{ status, error: status === "failed" ? error : null, download_url: null }],
        [],
      );
      await expect(client.exports.get("e1").finished()).rejects.toMatchObject({ code, details: { export_id: "e1" } });
    }
  });

  it("is waited for until the signal or the deadline ends the call, after which it goes on", async () => {
    const { client, asked } = await anExport([{ status: "running" }], []);
    const stop = new AbortController();
    const waiting = client.exports.get("e1").download({ signal: stop.signal, onProgress: () => stop.abort() });
    await expect(waiting).rejects.toMatchObject({ code: "ABORTED" });
    await expect(client.exports.get("e1").finished({ timeoutMs: 1 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    expect(asked()).not.toContain("DELETE exports/e1");
  });
});

describe("a chat", () => {
  it("is deleted until there is an answer, and its pending messages are forgotten", async () => {
    const unanswered = no(504, "MESSAGE_SEND_FAILED", { details: { outcome: "unknown" } });
    const api = await anApi(unanswered, "cut", ok({ chat_id: "c1", deleted: true }, { at_retell: "pending" }));
    const chat = api.client().chat("c1");
    await chat.send("hi", { timeoutMs: 1 }).catch(() => {});
    expect(await chat.pending()).toHaveLength(1);
    expect(await chat.delete({ atRetell: true })).toMatchObject({ deleted: true, meta: { at_retell: "pending" } });
    expect(await chat.pending()).toEqual([]);
    const [, first, second] = api.got.map(({ method, path }) => `${method} ${path}`);
    expect([first, second]).toEqual(Array(2).fill("DELETE c1?at_retell=true"));
  });

  it("is no file where somebody else has answered", async () => {
    const api = await anApi({ body: "<h1>Welcome to the hotel</h1>" }, ({ headers }: Got) => ({
      body: "user: hi",
      headers: { "x-operation-id": String(headers["x-operation-id"]) },
    }));
    expect(await api.client().chat("c1").export("txt", { timezone: "Europe/Berlin" })).toBe("user: hi");
    expect(api.got.map(({ path }) => path)).toEqual(Array(2).fill("c1/export?format=txt&timezone=Europe%2FBerlin"));
  });
});
