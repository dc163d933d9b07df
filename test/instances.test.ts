import { ObjectId } from "mongodb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { tool } from "./support/tool.ts";
import { aChatBy, anInstance, aWire, owned, verdict } from "./support/wire.ts";
import { aMembership, aUser, aWorld, central, type World } from "./support/world.ts";

const wire = await aWire();
afterEach(() => vi.useRealTimers());

const revoke = ({ subaccountId, owner }: World) =>
  central
    .collection("usersubaccounts")
    .updateOne(
      { userId: new ObjectId(owner.id), subaccountId: new ObjectId(subaccountId) },
      { $set: { isActive: false } },
    );

const minuteMs = 60_000;

describe("limits", () => {
  // At the beginning of a window: a sliding one counts part of the last.
  beforeEach(() => {
    vi.useFakeTimers({ toFake: ["Date"], now: Math.ceil(Date.now() / minuteMs) * minuteMs });
  });

  it("are one for all instances", async () => {
    const world = await aWorld();
    const [one, other] = [await anInstance({ RATE_LIMIT_LIST: "10" }), await anInstance({ RATE_LIMIT_LIST: "10" })];
    for (let i = 0; i < 5; i++) {
      expect((await one.call("list", owned(world))).headers["ratelimit-remaining"]).toBe(String(9 - 2 * i));
      expect((await other.call("list", owned(world))).headers["ratelimit-remaining"]).toBe(String(8 - 2 * i));
    }
    for (const { call } of [one, other]) {
      expect(verdict(await call("list", owned(world)))).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
    }
  });

  it("are a subaccount's own, and an endpoint's own", async () => {
    const [world, neighbour] = [await aWorld(), await aWorld()];
    const instance = await anInstance({ RATE_LIMIT_LIST: "1" });
    await instance.call("list", owned(world));
    expect((await instance.call("list", owned(world))).status).toBe(429);
    expect((await instance.call("list", owned(neighbour))).status).toBe(200);
    const request = { ...owned(world), chatId: await aChatBy(instance, world) };
    expect((await instance.call("transcript", request)).status).toBe(200);
  });

  it.each([
    ["a stranger", (world: World) => world.stranger],
    ["a member without the permission", (world: World) => aReader(world)],
    ["somebody whose membership has ended", (world: World) => aFormerMember(world)],
  ])("are not used up by %s", async (_who, choose) => {
    const world = await aWorld();
    const { token } = await choose(world);
    const { call } = await anInstance({ RATE_LIMIT_CREATE: "10" });
    const create = { ...owned(world), body: { agentId: world.agentId } };
    for (let i = 0; i < 60; i++) {
      expect(verdict(await call("create", { ...create, token }))).toEqual([403, "PERMISSION_DENIED"]);
    }
    const { status, headers } = await call("create", create);
    expect([status, headers["ratelimit-remaining"]]).toEqual([200, "9"]);
  });

  it("include one of each user over all endpoints and subaccounts", async () => {
    const [world, neighbour] = [await aWorld(), await aWorld()];
    await aMembership(neighbour.subaccountId, world.owner.id, ["read", "write"]);
    const instance = await anInstance({ RATE_LIMIT_USER: "5" });
    const request = { ...owned(world), chatId: await aChatBy(instance, world) };
    await instance.call("list", request);
    await instance.call("message", { ...request, body: { content: "ping" } });
    await instance.call("end", request);
    expect((await instance.call("list", { ...request, subaccountId: neighbour.subaccountId })).status).toBe(200);

    const refused = await instance.call("transcript", request);
    expect([...verdict(refused), refused.body.details]).toEqual([429, "RATE_LIMIT_EXCEEDED", { limit: "user" }]);
    expect(refused.headers["ratelimit-limit"]).toBe("5");
    expect((await instance.call("transcript", { ...request, token: world.viewer.token })).status).toBe(200);
  });

  it("of a user count every request with a valid token, before what is wrong with it", async () => {
    const world = await aWorld();
    const { call } = await anInstance({ RATE_LIMIT_USER: "4" });
    const create = (body: unknown, more: object = {}) => call("create", { ...owned(world), body, ...more });
    const malformed = [await create({}), await create("{"), await create({}, { subaccountId: "nope" })];
    for (const [index, { status, headers }] of malformed.entries()) {
      expect([status, headers["ratelimit-limit"], headers["ratelimit-remaining"]]).toEqual([400, "4", `${3 - index}`]);
    }
    expect((await create("x".repeat(262_145))).status).toBe(413);
    for (const body of [{}, "{", { agentId: world.agentId }, "x".repeat(262_145)]) {
      const refused = await create(body);
      expect(verdict(refused)).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
      expect(refused.headers["retry-after"]).toBe(String(refused.body.retryAfter));
    }
    expect((await call("create", { subaccountId: world.subaccountId, body: {} })).status).toBe(401);
    expect(verdict(await create({}, { token: world.viewer.token }))).toEqual([400, "VALIDATION_ERROR"]);
  });

  it("of a user are judged before the permission, a subaccount's after it", async () => {
    const world = await aWorld();
    const { call } = await anInstance({ RATE_LIMIT_USER: "2", RATE_LIMIT_LIST: "1" });
    const stranger = { ...owned(world), token: world.stranger.token };
    expect((await call("list", owned(world))).status).toBe(200);
    expect((await call("list", owned(world))).status).toBe(429);
    expect((await call("list", stranger)).status).toBe(403);
    expect((await call("list", stranger)).status).toBe(403);
    expect((await call("list", stranger)).status).toBe(429);
  });

  it("stand in the headers of every answer, the tighter one", async () => {
    const world = await aWorld();
    const { call } = await anInstance({ RATE_LIMIT_USER: "4", RATE_LIMIT_LIST: "3" });
    const seen = [];
    for (let i = 0; i < 3; i++) seen.push((await call("list", owned(world))).headers);
    expect(seen.map((headers) => [headers["ratelimit-limit"], headers["ratelimit-remaining"]])).toEqual([
      ["3", "2"],
      ["3", "1"],
      ["3", "0"],
    ]);
    for (const headers of seen) expect(Number(headers["ratelimit-reset"])).toBeGreaterThan(0);
    const missing = await call("transcript", { ...owned(world), chatId: "chat_of_nobody" });
    expect([missing.status, missing.headers["ratelimit-limit"], missing.headers["ratelimit-remaining"]]).toEqual([
      404,
      "4",
      "0",
    ]);
  });

  it("when exceeded, say when to come back: in the headers, in the body, and it is true", async () => {
    const world = await aWorld();
    const { call } = await anInstance({ RATE_LIMIT_LIST: "1" });
    await call("list", owned(world));
    const { status, headers, body } = await call("list", owned(world));
    expect([status, body.code]).toEqual([429, "RATE_LIMIT_EXCEEDED"]);
    expect(headers).toMatchObject({ "ratelimit-limit": "1", "ratelimit-remaining": "0" });
    expect([headers["retry-after"], headers["ratelimit-reset"]]).toEqual([
      String(body.retryAfter),
      String(body.retryAfter),
    ]);
    expect(body.retryAfter).toBeGreaterThan(0);
    expect(body.retryAfter).toBeLessThanOrEqual(60);
  });

  it.each(["RATE_LIMIT_LIST", "RATE_LIMIT_USER"])(
    "let through whoever comes back when they say, and nobody a second sooner: %s",
    async (setting) => {
      const world = await aWorld();
      const { call } = await anInstance({ [setting]: "10" });
      const list = () => call("list", owned(world));
      const later = (seconds: number) => vi.setSystemTime(Date.now() + seconds * 1_000 + 1);
      const waits: number[] = [];
      for (let i = 0; i < 10; i++) expect((await list()).status).toBe(200);
      for (let i = 0; i < 12; i++) {
        const { status, body } = await list();
        expect(status).toBe(429);
        waits.push(body.retryAfter);
        later(body.retryAfter - 1);
        expect((await list()).status).toBe(429);
        later(1);
        expect((await list()).status).toBe(200);
      }
      expect(waits).toEqual([60, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6]);
    },
  );
});

describe("a permission", () => {
  it("that is revoked in Mongo is gone from every instance after 60 s, counted from its reading there", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    const world = await aWorld();
    const [one, other] = [await anInstance(), await anInstance()];
    const list = () => Promise.all([one, other].map(async ({ call }) => (await call("list", owned(world))).status));
    await one.call("list", owned(world));
    await revoke(world);
    vi.setSystemTime(Date.now() + 59_000);
    expect(await list()).toEqual([200, 200]); // the other instance reads the old value from Redis
    vi.setSystemTime(Date.now() + 1_000);
    expect(await list()).toEqual([403, 403]);
  });

  it("that is revoked is gone at once from every instance, once the user is forgotten", async () => {
    const world = await aWorld();
    const [one, other] = [await anInstance(), await anInstance()];
    const list = () => Promise.all([one, other].map(async ({ call }) => verdict(await call("list", owned(world)))));
    await list();
    await revoke(world);
    expect(await list()).toEqual([
      [200, undefined],
      [200, undefined],
    ]);
    await one.access.forgetUser(world.owner.id);
    expect(await list()).toEqual([
      [403, "PERMISSION_DENIED"],
      [403, "PERMISSION_DENIED"],
    ]);
  });

  it("that is revoked is gone at once after npm run ops -- forget access --user ID", async () => {
    const world = await aWorld();
    const [one, other] = [await anInstance(), await anInstance()];
    const list = () => Promise.all([one, other].map(async ({ call }) => (await call("list", owned(world))).status));
    await list();
    await revoke(world);
    expect(await list()).toEqual([200, 200]);
    expect(await tool("forget access", ["--user", world.owner.id.toUpperCase(), "--yes"])).toMatchObject({
      code: 0,
    });
    expect(await list()).toEqual([403, 403]);

    expect((await tool("forget access")).code).toBe(1);
    await wire.redisFault("drop");
    expect(await tool("forget access", ["--user", world.owner.id, "--yes"])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("takes effect by itself within a minute"),
    });
    await wire.heal();
  });

  it("that is revoked is gone at once when the user is forgotten in sst shell, whatever .env calls the stage", async () => {
    const world = await aWorld();
    const { call } = await anInstance({ STAGE: "ada" });
    await call("list", owned(world));
    await revoke(world);
    expect((await call("list", owned(world))).status).toBe(200);
    const shell = { SST_RESOURCE_App: JSON.stringify({ name: "scalai-chat", stage: "ada" }) };
    const env = { STAGE: "local", ...shell };
    expect(await tool("forget access", ["--user", world.owner.id, "--yes"], env)).toMatchObject({
      code: 0,
      stderr: expect.stringMatching(/^Stage ada: MongoDB \S+, Redis \S+\n$/),
    });
    expect((await call("list", owned(world))).status).toBe(403);
  });

  it("that is granted counts at once where it was not known, and everywhere once the user is forgotten", async () => {
    const world = await aWorld();
    const { call, access } = await anInstance();
    const request = { ...owned(world), token: world.stranger.token };
    expect((await call("list", request)).status).toBe(403);
    await aMembership(world.subaccountId, world.stranger.id, ["read"]);
    await access.forgetUser(world.stranger.id);
    expect((await call("list", request)).status).toBe(200);
  });

  it("is not served from the cache to a caller who has lost it", async () => {
    const world = await aWorld();
    const instance = await anInstance();
    await aChatBy(instance, world);
    await instance.call("list", owned(world));
    expect((await instance.call("list", owned(world))).body.meta.cached).toBe(true);
    await revoke(world);
    await instance.access.forgetUser(world.owner.id);
    const { status, body } = await instance.call("list", owned(world));
    expect([status, body.data]).toEqual([403, undefined]);
  });

  it("is learned from Redis, where another instance has left it", async () => {
    const world = await aWorld();
    const { call } = await anInstance();
    await wire.redis("SET", copyOf(world), JSON.stringify(aCopy()));
    expect((await call("list", { ...owned(world), token: world.stranger.token })).status).toBe(200);
  });

  it.each<[string, (copy: ReturnType<typeof aCopy>) => unknown]>([
    ["no JSON", () => "owner"],
    ["half of it", (copy) => JSON.stringify(copy).slice(0, -1)],
    ["another shape", () => ({ role: "owner", permissions: "all" })],
    ["a list", () => []],
    ["null", () => null],
    ["a flag that is no boolean", (copy) => ({ ...copy, membership: { ...copy.membership, isActive: "true" } })],
    ["a role that is no text", (copy) => ({ ...copy, membership: { ...copy.membership, role: { $gt: "" } } })],
    ["a time that is no number", (copy) => ({ ...copy, readAt: "now" })],
    ["a time long past", (copy) => ({ ...copy, readAt: 0 })],
    ["a time to come", (copy) => ({ ...copy, readAt: 9e15 })],
    ["another epoch", (copy) => ({ ...copy, epoch: "another" })],
  ])("as Redis has it is ignored when it is %s: Mongo decides", async (_what, garble) => {
    const world = await aWorld();
    const { call } = await anInstance();
    const text = garble(aCopy());
    await wire.redis("SET", copyOf(world), typeof text === "string" ? text : JSON.stringify(text));
    const answer = await call("list", { ...owned(world), token: world.stranger.token });
    expect(verdict(answer)).toEqual([403, "PERMISSION_DENIED"]);
    expect(answer.body.details.effectiveRole).toBe("none");
  });
});

/** Where Redis keeps what is known of a world's stranger. */
const copyOf = ({ subaccountId, stranger }: World) => `test:access:${subaccountId}:${stranger.id}`;

/** What Redis would hold if the stranger were the owner. */
const aCopy = () => ({
  readAt: Date.now(),
  epoch: "",
  membership: {
    role: "owner",
    isActive: true,
    permissions: { read: true, write: true, delete: true, admin: true },
    expiresAt: null,
  },
  subaccount: { isActive: true, maintenanceMode: false },
});

async function aReader({ subaccountId }: World) {
  const user = await aUser();
  await aMembership(subaccountId, user.id, ["read"]);
  return user;
}

async function aFormerMember({ subaccountId }: World) {
  const user = await aUser();
  const temporaryAccess = { enabled: true, expiresAt: new Date(Date.now() - 1_000) };
  await aMembership(subaccountId, user.id, ["read", "write"], { temporaryAccess });
  return user;
}
