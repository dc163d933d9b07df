import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { describe, expect, it, vi } from "vitest";
import { toSqsEvent } from "../dev/worker.ts";
import { routes } from "../lib/api/routes.ts";
import { filesPath, linkedFile } from "../lib/platform/files/folder.ts";
import { aContext, aWorld, call, type Request, type World } from "./support/world.ts";

process.env.FILES_URL = "http://127.0.0.1:3000";

const world = await aWorld();

const owned = ({ owner: { token }, subaccountId }: World, more: Request = {}): Request => ({
  token,
  subaccountId,
  ...more,
});
const create = (body: object, more: Request = {}, where = world) =>
  call("exports-create", owned(where, { body, ...more }));

/** Chats of a tenant as they are stored, the newest first; each has two messages. */
async function seeded(
  { db, subaccountId }: World,
  count: number,
  from = 0,
  length = 10,
): Promise<{ chat_id: string }[]> {
  const chats = Array.from({ length: count }, (_, i) => {
    const start_timestamp = (from || 1_759_398_000_000) + i * 1_000;
    const said = (role: string, content: string) => ({ role, content, created_timestamp: start_timestamp });
    const messages = [said("agent", `hello ${i}`), said("user", "x".repeat(length))];
    const about = {
      agent_id: "agent_shop",
      chat_status: "ended",
      end_timestamp: start_timestamp + 500,
      metadata: { i },
    };
    return { subaccountId, chat_id: `chat_${i}`, start_timestamp, message_count: 2, messages, ...about };
  });
  await db.collection("chats").insertMany(chats);
  return chats.reverse();
}

/** What the queue does: the worker gets the message of a job. */
async function work({ subaccountId }: World, jobId: string, remainingMs = 60_000): Promise<void> {
  const { handler } = await import("../functions/worker.ts");
  const event = toSqsEvent({ subaccountId, jobId, kind: "export" });
  expect(await handler(event, aContext(remainingMs))).toEqual({ batchItemFailures: [] });
}

/** A finished export, as it is shown. */
async function exported(tenant: World, body: object) {
  const { data } = (await create(body, {}, tenant)).body;
  await work(tenant, data.export_id);
  return (await call("exports-get", owned(tenant, { exportId: data.export_id }))).body.data;
}

async function aFile({ pathname, searchParams }: URL): Promise<Buffer | undefined> {
  const file = await linkedFile(pathname.slice(filesPath.length), Object.fromEntries(searchParams));
  return file && readFile(file.path);
}

async function downloaded({ download_url }: { download_url: string }): Promise<Buffer> {
  return (await aFile(new URL(download_url))) ?? Buffer.from("no file");
}

const sha256 = (content: string | Buffer) => createHash("sha256").update(content).digest("hex");

it("an export is accepted, listed, read and canceled; canceling twice is no error", async () => {
  const { status, body } = await create({ format: "csv", filter: { status: "ended" }, timezone: "Europe/Berlin" });
  expect([status, body.message]).toEqual([202, routes["exports-create"].message]);
  const exportId = body.data.export_id;
  const pending = { status: "pending", format: "csv", filter: { status: "ended" }, timezone: "Europe/Berlin" };
  expect(body.data).toMatchObject({ ...pending, rows: 0, bytes: 0, sha256: null, download_url: null, error: null });
  const [get, list] = [() => call("exports-get", owned(world, { exportId })), () => call("exports-list", owned(world))];
  expect((await get()).body.data).toEqual(body.data);
  expect((await list()).body.data).toEqual([body.data]);
  for (const _time of [1, 2]) {
    const canceled = await call("exports-cancel", owned(world, { exportId }));
    expect([canceled.status, canceled.body.data.status]).toEqual([200, "canceled"]);
  }
  expect((await get()).body.data).toMatchObject({ status: "canceled", finished_at: expect.any(String) });
});

it("a repeat with the same key finds the same export; with another body it is refused", async () => {
  const tenant = await aWorld();
  const key = { headers: { "idempotency-key": "k" } };
  const [one, other] = await Promise.all([1, 2].map(() => create({ format: "jsonl" }, key, tenant)));
  expect(one?.body.data.export_id).toBe(other?.body.data.export_id);
  const again = await create({ format: "jsonl", timezone: null, filter: null }, key, tenant);
  expect([again.status, again.headers["idempotent-replayed"]]).toEqual([202, "true"]);
  expect((await call("exports-list", owned(tenant))).body.data).toHaveLength(1);
  const reused = await create({ format: "csv" }, key, tenant);
  expect([reused.status, reused.body.code]).toEqual([422, "IDEMPOTENCY_KEY_REUSED"]);
});

it("three exports of a subaccount may be unfinished; the next one is refused until one is over", async () => {
  const tenant = await aWorld();
  const made = [];
  for (const _one of [1, 2, 3]) made.push(await create({ format: "csv" }, {}, tenant));
  const refused = await create({ format: "csv" }, {}, tenant);
  expect([refused.status, refused.body.code, refused.headers["retry-after"]]).toEqual([409, "TOO_MANY_EXPORTS", "60"]);
  await call("exports-cancel", owned(tenant, { exportId: made[0]?.body.data.export_id }));
  expect((await create({ format: "csv" }, {}, tenant)).status).toBe(202);
});

it.each([
  ["no format", {}, "format"],
  ["a format that is none", { format: "pdf" }, "format"],
  ["a time zone that is none", { format: "csv", timezone: "Mars/Olympus" }, "timezone"],
  ["a filter that is no object", { format: "csv", filter: "ended" }, "filter"],
  ["a filter whose value is no text", { format: "csv", filter: { status: { $ne: "ended" } } }, "filter.status"],
])("%s: 400 with the field named", async (_name, body, field) => {
  const { status, body: answer } = await create(body);
  expect([status, answer.code, answer.errors[0].field]).toEqual([400, "VALIDATION_ERROR", field]);
});

it("another tenant's export, and one that does not exist, are 404 in the same words", async () => {
  const { body } = await create({ format: "jsonl" });
  const other = await aWorld();
  for (const name of ["exports-get", "exports-cancel"] as const) {
    const answers = [body.data.export_id, "exp_nobody", "create"].map((exportId) =>
      call(name, owned(other, { exportId })),
    );
    for (const { status, body: answer } of await Promise.all(answers))
      expect([status, answer.code, answer.message]).toEqual([404, "EXPORT_NOT_FOUND", "Export not found"]);
  }
  expect((await call("exports-get", owned(world, { exportId: body.data.export_id }))).body.data.status).toBe("pending");
});

describe("the worker", () => {
  it("writes each chat once, newest first, and what is downloaded has the sha256 that the export names", async () => {
    const tenant = await aWorld();
    const chats = await seeded(tenant, 30);
    const done = await exported(tenant, { format: "jsonl" });
    const file = await downloaded(done);
    const lines = file
      .toString()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines.map(({ chat_id }) => chat_id)).toEqual(chats.map(({ chat_id }) => chat_id));
    for (const line of lines.slice(0, 2)) {
      const { body } = await call("transcript", owned(tenant, { chatId: line.chat_id }));
      expect(line).toEqual(body.data);
    }
    const about = { rows: 30, bytes: file.length, sha256: sha256(file), progress: { chats: 30, total: 30 } };
    expect(done).toMatchObject({ status: "completed", ...about, error: null });
  });

  it("writes CSV with a row for each message", async () => {
    const tenant = await aWorld();
    await seeded(tenant, 3);
    const done = await exported(tenant, { format: "csv", timezone: "Asia/Kolkata" });
    const text = (await downloaded(done)).toString();
    expect(text).toMatch(/^\ufeffchat_id,.*\r\nchat_2,.*\+05:30,.*hello 2/);
    expect([done.rows, text.split("\r\n").length]).toEqual([6, 8]);
  });

  it("makes a file without a line of no chats, and leaves out chats that begin after it was asked for", async () => {
    const tenant = await aWorld();
    await seeded(tenant, 1, Date.now() + 120_000); // more than Retell's clock may be ahead
    const done = await exported(tenant, { format: "jsonl" });
    expect([(await downloaded(done)).length, done.rows, done.sha256]).toEqual([0, 0, sha256("")]);
  });

  it("goes on with the next worker where its time was over", async () => {
    const tenant = await aWorld();
    const chats = await seeded(tenant, 40, 0, 300_000); // two parts
    const asked = (await create({ format: "jsonl" }, {}, tenant)).body.data;
    for (let workers = 1; ; workers++) {
      await work(tenant, asked.export_id, 1);
      const { body } = await call("exports-get", owned(tenant, { exportId: asked.export_id }));
      if (body.data.status === "pending") continue;
      expect([body.data.status, workers]).toEqual(["completed", 5]);
      const file = await downloaded(body.data);
      expect([sha256(file), file.toString().match(/"chat_id"/g)?.length]).toEqual([body.data.sha256, chats.length]);
      return;
    }
  });

  it("a link is refused when it was changed, is over, or its file was deleted; no name leads out of the folder", async () => {
    const tenant = await aWorld();
    const done = await exported(tenant, { format: "csv" });
    const url = new URL(done.download_url);
    const get = async (change: (link: URL) => void) => {
      const link = new URL(url);
      change(link);
      return (await aFile(link)) === undefined ? 403 : 200;
    };
    expect(await get(() => {})).toBe(200);
    expect(await get(({ searchParams }) => searchParams.set("expires", "9999999999"))).toBe(403);
    expect(await get(({ searchParams }) => searchParams.set("saveAs", "x.html"))).toBe(403);
    expect(await get((link) => (link.pathname += "/../x.csv"))).toBe(403);
    vi.setSystemTime(Date.now() + 15 * 60_000 + 1_000);
    expect(await get(() => {})).toBe(403);
    vi.useRealTimers();
    const { body } = await call("exports-cancel", owned(tenant, { exportId: done.export_id }));
    expect(body.data).toMatchObject({ status: "expired", download_url: null });
    expect(await get(() => {})).toBe(403);
  });

  it("an export is expired a day after it was completed", async () => {
    const tenant = await aWorld();
    const { export_id: exportId } = await exported(tenant, { format: "csv" });
    const finishedAt = new Date(Date.now() - 24 * 60 * 60_000);
    await tenant.db.collection<{ _id: string }>("jobs").updateOne({ _id: exportId }, { $set: { finishedAt } });
    const { body } = await call("exports-get", owned(tenant, { exportId }));
    expect(body.data).toMatchObject({ status: "expired", download_url: null, expires_at: null, rows: 0 });
  });
});

it("an installation without a place for files makes no exports, and says so", async () => {
  const { FILES_FOLDER } = process.env;
  try {
    delete process.env.FILES_FOLDER;
    vi.resetModules();
    const { body, status } = await create({ format: "csv" });
    expect([status, body.code]).toEqual([404, "EXPORTS_UNAVAILABLE"]);
  } finally {
    process.env.FILES_FOLDER = FILES_FOLDER;
  }
});
