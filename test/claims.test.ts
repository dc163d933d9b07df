import { describe, expect, it } from "vitest";
import { anInstance } from "./support/wire.ts";
import { aChat, aToken, aWorld, call, control } from "./support/world.ts";

const world = await aWorld();
const { subaccountId, owner } = world;
const list = (token: string) => call("list", { token, subaccountId });

describe("a token with a good id", () => {
  it.each<Record<string, unknown>>([
    { email: null },
    { email: 7 },
    { email: ["a@b.example"] },
    { email: "x".repeat(1_000) },
    { sub: 7 },
    { sub: null },
    { sub: "" },
    { role: null },
    { role: "something else" },
    { iss: null },
    { iss: 7 },
    { iss: "" },
    { aud: null },
    { nbf: null },
    { iat: null },
    { iat: "yesterday" },
    { jti: null },
    { typ: null },
  ])("is accepted, whatever else is odd in it: %j", async (odd) => {
    expect((await list(await aToken({ id: owner.id, ...odd }))).status).toBe(200);
  });

  it.each([null, 42, "", "  ", true, [], {}, "x".repeat(129)])(
    "is one whose sub is good, where id is %j",
    async (id) => {
      expect((await list(await aToken({ id, sub: owner.id }))).status).toBe(200);
      expect((await list(await aToken({ id, sub: world.stranger.id }))).status).toBe(403);
      for (const sub of [undefined, null, 7, "", { $gt: "" }]) {
        expect((await list(await aToken({ id, ...(sub === undefined ? {} : { sub }) }))).body.code).toBe(
          "INVALID_ACCESS_TOKEN",
        );
      }
    },
  );

  it.each<Record<string, unknown>>([
    { exp: null },
    { exp: "9999999999" },
    { nbf: "0" },
    { nbf: Date.now() / 1_000 + 60 },
  ])("is refused where its time is %j", async (times) => {
    const token = await aToken({ id: owner.id, exp: 9_999_999_999, ...times }, { expires: "" });
    expect((await list(token)).body.code).toBe("INVALID_ACCESS_TOKEN");
  });

  it("is that of the user it names, not of another one beside it", async () => {
    expect((await list(await aToken({ id: world.stranger.id, sub: owner.id }))).status).toBe(403);
    expect((await list(await aToken({ id: owner.id, sub: world.stranger.id }))).status).toBe(200);
  });

  it("gives no role by one that we do not know", async () => {
    for (const role of ["SUPER_ADMIN", ["super_admin"], { role: "super_admin" }]) {
      expect((await list(await aToken({ id: world.stranger.id, role }))).status).toBe(403);
    }
  });
});

describe("a bearer token", () => {
  it.each(["Bearer ", "bearer ", "Bearer  ", "BEARER    "])("may stand behind %j", async (scheme) => {
    const headers = { authorization: `${scheme}${owner.token}` };
    expect((await call("list", { subaccountId, headers })).status).toBe(200);
  });
});

describe("an id in capitals", () => {
  it("is the same user: allowed, counted and known by the same Idempotency-Key", async () => {
    const world = await aWorld(); // nothing of its limits is used
    const { subaccountId, owner } = world;
    const loud = await aToken({ id: owner.id.toUpperCase() });
    const instance = await anInstance({ RATE_LIMIT_USER: "20" }); // the tighter one: what the headers tell of
    const left = async (token: string) => (await instance.call("list", { token, subaccountId })).headers;
    expect((await left(owner.token))["ratelimit-limit"]).toBe("20");
    const before = Number((await left(owner.token))["ratelimit-remaining"]);
    expect((await left(loud))["ratelimit-remaining"]).toBe(String(before - 1));

    const chatId = await aChat(world);
    const headers = { "idempotency-key": crypto.randomUUID() };
    const send = (token: string) =>
      call("message", { token, subaccountId, chatId, headers, body: { content: "ping" } });
    const answers = [await send(owner.token), await send(loud)];
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    expect(answers[1]?.headers["idempotent-replayed"]).toBe("true");
    expect((await control("retell", "GET", `/requests?step=completion&chat_id=${chatId}`)).requests).toHaveLength(1);
  });
});
