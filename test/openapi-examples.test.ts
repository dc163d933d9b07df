import { createHash } from "node:crypto";
import { sign } from "retell-sdk/lib/webhook_auth";
import { expect, it, vi } from "vitest";
import { publicEndpoint } from "../lib/api/chain.ts";
import { routes } from "../lib/api/routes.ts";
import type { ErrorCode } from "../lib/platform/errors.ts";
import { at } from "./support/chats.ts";
import {
  aChat,
  aWorld,
  call,
  fault,
  invoke,
  type Name,
  type Request,
  type Response,
  type World,
} from "./support/world.ts";

const world = await aWorld({ agentId: "agent_demo_shop" });
const chatId = await aChat(world);

/** A request of the owner, for the chat of all examples unless it names another. */
const ask = (name: Name, request: Request = {}, where: World = world) =>
  call(name, { ...at(where, chatId), ...request });
const create = (request: Request = {}, where: World = world) =>
  ask("create", { body: { agentId: where.agentId }, ...request }, where);
const key = (name: string) => ({ headers: { "idempotency-key": name } });

/** A user who tries again while the first attempt runs, and another who does not wait for it. */
async function whileSending(request: Request): Promise<Response> {
  const mine = await aChat(world);
  await fault(world, "completion", { kind: "latency", ms: 300, chat_id: mine });
  const body = { content: "Where is my order?" };
  const answers = await Promise.all([
    ask("message", { chatId: mine, body, ...key("first") }),
    ask("message", { chatId: mine, body, ...request }),
  ]);
  return answers.find(({ status }) => status === 409) as Response;
}

async function ended(): Promise<string> {
  const mine = await aChat(world);
  await ask("end", { chatId: mine });
  return mine;
}

async function failing(step: string, how: object, name: Name, request: Request = {}): Promise<Response> {
  const tenant = await aWorld();
  const mine = await aChat(tenant);
  await fault(tenant, step, how);
  return ask(name, { chatId: mine, ...request }, tenant);
}

/** A tenant for whom Mongo answers every query for chats with an error. */
async function aWorldWithoutChats(): Promise<World> {
  const tenant = await aWorld();
  const pipeline = [{ $match: { $expr: { $divide: [1, 0] } } }];
  await tenant.db.dropCollection("chats");
  await tenant.db.createCollection("chats", { viewOn: "nothing", pipeline });
  return tenant;
}

const account = async (fields: object) => create({}, await aWorld({ account: fields }));
const hello = { body: { content: "Hello" } };

/** How to get each error. NOT_FOUND, METHOD_NOT_ALLOWED and EXPORT_FAILED belong to no operation. */
const errors: Record<
  Exclude<ErrorCode, "NOT_FOUND" | "METHOD_NOT_ALLOWED" | "EXPORT_FAILED">,
  () => Promise<Response>
> = {
  VALIDATION_ERROR: () => create({ body: { agent_version: -1 } }),
  ACCESS_TOKEN_REQUIRED: () => create({ token: undefined }),
  INVALID_ACCESS_TOKEN: () => create({ token: "expired" }),
  INVALID_SIGNATURE: () => ask("webhook", { body: {} }),
  PERMISSION_DENIED: () => create({ token: world.viewer.token }),
  AGENT_NOT_FOUND: () => create({ body: { agentId: "agent_of_others" } }),
  CHAT_NOT_FOUND: () => ask("transcript", { chatId: "chat_of_others" }),
  EXPORT_NOT_FOUND: () => ask("exports-get", { exportId: "exp_of_others" }),
  EXPORTS_UNAVAILABLE: async () => {
    const { FILES_FOLDER } = process.env;
    try {
      delete process.env.FILES_FOLDER;
      vi.resetModules();
      return await ask("exports-create", { body: { format: "csv" } });
    } finally {
      process.env.FILES_FOLDER = FILES_FOLDER;
      vi.resetModules();
    }
  },
  TOO_MANY_EXPORTS: async () => {
    const tenant = await aWorld();
    const answers: Response[] = [];
    while (answers.at(-1)?.status !== 409)
      answers.push(await ask("exports-create", { body: { format: "csv" } }, tenant));
    return answers.at(-1) as Response;
  },
  CHAT_BUSY: () => whileSending({}),
  REQUEST_IN_PROGRESS: () => whileSending(key("first")),
  CHAT_ENDED: async () => ask("message", { chatId: await ended(), ...hello }),
  PAYLOAD_TOO_LARGE: () => ask("message", { body: { content: "x".repeat(300_000) } }),
  EXPORT_TOO_LARGE: async () => {
    const messages = Array(60).fill({ role: "user", content: "x".repeat(100_000), internal: {} });
    await world.db
      .collection("chats")
      .insertOne({ chat_id: "chat_large", subaccountId: world.subaccountId, chat_status: "ended", messages });
    return ask("export", { chatId: "chat_large" });
  },
  IDEMPOTENCY_KEY_REUSED: async () => {
    await create(key("mine"));
    return create({ body: { agentId: world.agentId, metadata: { crm_id: "C-99" } }, ...key("mine") });
  },
  RATE_LIMIT_EXCEEDED: async () => {
    const tenant = await aWorld();
    const answers: Response[] = [];
    while (answers.at(-1)?.status !== 429) answers.push(await ask("list", {}, tenant));
    return answers.at(-1) as Response;
  },
  RETELL_ACCOUNT_INACTIVE: () => account({ isActive: false }),
  RETELL_FETCH_FAILED: () => account({ apiKey: 7 }),
  API_KEY_DECRYPTION_ERROR: () => account({ apiKey: "v2.a.b.c.d" }),
  CHAT_CREATION_FAILED: () =>
    failing("create", { kind: "status", status: 422 }, "create", { body: { agentId: "agent_shop" } }),
  MESSAGE_SEND_FAILED: () => failing("completion", { kind: "drop" }, "message", hello),
  CHAT_END_FAILED: () => failing("end", { kind: "status", status: 429 }, "end"),
  CHAT_RETRIEVE_FAILED: () =>
    failing("retrieve", { kind: "status", status: 503 }, "transcript", { query: { consistency: "strong" } }),
  CHAT_LIST_FAILED: async () => ask("list", {}, await aWorldWithoutChats()),
  ANALYTICS_FAILED: async () => ask("analytics", {}, await aWorldWithoutChats()),
  SUBACCOUNT_PAUSED: async () => create({}, await aWorld({ subaccount: { chatPause: {} } })),
  CONNECTION_FAILED: async () => ask("list", {}, await aWorld({ subaccount: { databaseName: 7 } })),
  TIMEOUT: () => failing("create", { kind: "drop" }, "create", { body: { agentId: "agent_shop" } }),
  INTERNAL_ERROR: () => {
    const buggy = publicEndpoint(routes.end).handler(() => Promise.reject(new Error("a bug")));
    return invoke(buggy as Parameters<typeof invoke>[0], "end", at(world, chatId));
  },
};

const started = 1759398000000;
const sha256 = createHash("sha256").update("").digest("hex");
const hex = (text: string, length: number) => text.padStart(length, "0");

/** Replaces what differs each time: ids by their order, times by what they are. */
function stable({ body }: Response): unknown {
  const seen = new Map<string, number>();
  const number = (id: string) => String(seen.get(id) ?? seen.set(id, seen.size + 1).size);
  const text = JSON.stringify(body)
    .replaceAll(world.subaccountId, "64b000000000000000000001")
    .replace(/(?<=chat_|message_)[\da-f]{24,40}/g, (id) => hex(number(id), 24))
    .replace(
      /[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[\da-f]{4}-[\da-f]{12}/g,
      (id) => `5f3c0a58-0000-4000-8000-${hex(number(id), 12)}`,
    )
    .replace(/"accountId":"[\da-f]{24}"/, '"accountId":"64b000000000000000000002"')
    .replace(/"duration":"\d+ms"/, '"duration":"12ms"');
  return JSON.parse(text, function (this: { seq?: number }, name, value) {
    if (name === "nextCursor") return Buffer.from(JSON.stringify([started, "chat_2"])).toString("base64url");
    if (name === "start_timestamp") return started;
    if (name === "created_timestamp") return started + 1_000 * (this.seq ?? 1);
    if (name === "end_timestamp") return value && started + 90_000;
    if (name === "time") return started + 95_000;
    if (name === "createdAt") return new Date(started).toISOString();
    if (name === "created_at") return new Date(started).toISOString();
    if (name === "finished_at") return value && new Date(started + 20_000).toISOString();
    if (name === "expires_at") return value && new Date(started + 995_000).toISOString();
    if (name === "available_until") return value && new Date(started + 86_420_000).toISOString();
    if (name === "export_id") return "exp_000000000000000000000001";
    if (name === "download_url") return value && "https://files.example.com/exports/chats.csv?signature=…";
    if (name === "settles_by") return new Date(started + 120_000).toISOString();
    if (name === "retryAfter") return 5;
    return value;
  });
}

/** To refresh it: `npx vitest run test/openapi-examples.test.ts -u`, then `npm run openapi`. */
it("the reference's examples are what the API answers, except for ids and times", { timeout: 120_000 }, async () => {
  const body = {
    agentId: world.agentId,
    metadata: { crm_id: "C-99" },
    retell_llm_dynamic_variables: { customer_name: "Ana" },
  };
  const event = JSON.stringify({ event: "chat_started", chat: { chat_id: chatId } });
  const created = await create({ body });
  const mine = { chatId: created.body.data.chat_id };
  const answers: Partial<Record<Name, Response>> = {
    create: created,
    message: await ask("message", { ...mine, body: { content: "Where is my order?", client_message_id: "app-17" } }),
    transcript: await ask("transcript", mine),
    export: await ask("export", { ...mine, query: { format: "json" } }),
    end: await ask("end", mine),
    list: await ask("list", { query: { limit: "1" } }),
    search: await ask("search", { query: { q: "order", limit: "1" } }),
    analytics: await ask("analytics", {
      query: { interval: "week", timezone: "Europe/Berlin", from: String(started), to: "2025-10-13T00:00:00Z" },
    }),
    delete: await ask("delete", { chatId: await ended(), query: { at_retell: "true" } }),
    webhook: await ask("webhook", {
      body: event,
      headers: { "x-retell-signature": await sign(event, world.apiKey) },
    }),
    health: await call("health"),
  };
  answers["exports-create"] = await ask("exports-create", { body: { format: "csv", timezone: "Europe/Berlin" } });
  const exported = { exportId: answers["exports-create"].body.data.export_id };
  const done = { status: "completed", finishedAt: new Date(), result: { chats: 2, rows: 7, bytes: 1_234, sha256 } };
  await world.db.collection<{ _id: string }>("jobs").updateOne({ _id: exported.exportId }, { $set: done });
  answers["exports-list"] = await ask("exports-list");
  answers["exports-get"] = await ask("exports-get", exported);
  answers["exports-cancel"] = await ask("exports-cancel", exported);
  for (const [name, answer] of Object.entries(answers))
    expect([name, answer.status]).toEqual([name, name === "exports-create" ? 202 : 200]);

  const refusals: [string, unknown][] = [];
  for (const [code, provoke] of Object.entries(errors)) {
    const answer = await provoke();
    expect(answer.body.code).toBe(code);
    refusals.push([code, stable(answer)]);
  }
  const successes = Object.entries(answers).map(([name, answer]) => [name, stable(answer)]);
  const examples = { answers: Object.fromEntries(successes), errors: Object.fromEntries(refusals) };
  await expect(`${JSON.stringify(examples, null, 2)}\n`).toMatchFileSnapshot("../dev/openapi/examples.json");
});
