import { expect, it } from "vitest";
import { routes } from "../lib/api/routes.ts";
import { aWorld, call, type Request, type World } from "./support/world.ts";

const world = await aWorld();

const owned = ({ owner: { token }, subaccountId }: World, more: Request = {}): Request => ({
  token,
  subaccountId,
  ...more,
});
const create = (body: object, more: Request = {}, where = world) =>
  call("exports-create", owned(where, { body, ...more }));

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

it("an installation without a place for files makes no exports, and says so", async () => {
  const { vi } = await import("vitest");
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
