import { ObjectId } from "mongodb";
import { sign } from "retell-sdk/lib/webhook_auth";
import { describe, expect, it } from "vitest";
import { neighbours } from "./support/attack.ts";
import { at } from "./support/chats.ts";
import { logOf, verdict } from "./support/wire.ts";
import { aChat, aWorld, call, central } from "./support/world.ts";

describe("subaccounts that share a database", () => {
  it("see, end and write to nothing of each other's: 404", async () => {
    const [mine, theirs] = await neighbours();
    const own = await aChat(theirs);
    const before = await theirs.db.collection("chats").findOne({ chat_id: own });
    expect(before?.subaccountId).toBe(theirs.subaccountId);

    for (const [name, more] of [
      ["message", { body: { content: "let me in" } }],
      ["end", {}],
      ["transcript", {}],
    ] as const) {
      const { status, body } = await call(name, { ...at(mine, own), ...more });
      expect([name, status, body.code]).toEqual([name, 404, "CHAT_NOT_FOUND"]);
    }
    expect(await theirs.db.collection("chats").findOne({ chat_id: own })).toEqual(before);
  });

  it("cannot use each other's agents: 404", async () => {
    const [mine, theirs] = await neighbours();
    const { status, body } = await call("create", {
      token: mine.owner.token,
      subaccountId: mine.subaccountId,
      body: { agentId: theirs.agentId },
    });
    expect([status, body.code]).toEqual([404, "AGENT_NOT_FOUND"]);
  });
});

describe("where a subaccount keeps its data", () => {
  it("is the central database when it names neither cluster nor database", async () => {
    const world = await aWorld({ subaccount: { databaseName: "" } });
    await central.collection("chatagents").insertOne({ agentId: world.agentId, subaccountId: world.subaccountId });
    const chatId = await aChat(world);
    expect(await central.collection("chats").findOne({ chat_id: chatId })).toMatchObject({
      subaccountId: world.subaccountId,
    });
  });

  it("is an answer of 503 when its cluster's address does not decrypt or parse", async () => {
    const { encrypt } = await import("../lib/platform/crypto.ts");
    for (const mongodbUrl of ["v2.a.b.c.d", "nonsense"]) {
      const { owner, subaccountId } = await aWorld({ subaccount: { mongodbUrl } });
      const { status, body } = await call("list", { token: owner.token, subaccountId });
      expect([status, body.code]).toEqual([503, "CONNECTION_FAILED"]);
    }
    const { owner, subaccountId } = await aWorld();
    const mongodbUrl = await encrypt("http://not-a-mongo", subaccountId);
    await central.collection("subaccounts").updateOne({ _id: new ObjectId(subaccountId) }, { $set: { mongodbUrl } });
    expect((await call("list", { token: owner.token, subaccountId })).body.code).toBe("CONNECTION_FAILED");
  });

  it.each([
    { databaseName: 42 },
    { databaseName: ["tenant_a"] },
    { mongodbUrl: { text: "v2.a.b.c.d" } },
    { mongodbUrl: 7 },
    { mongodbUrl: false },
  ])("is never the central database when it cannot be read: %j", async (subaccount) => {
    const { owner, stranger, subaccountId, agentId } = await aWorld({ subaccount });
    await central.collection("chatagents").insertOne({ agentId, subaccountId });
    const [name] = Object.keys(subaccount);
    for (const [endpoint, body] of [
      ["create", { agentId }],
      ["list", undefined],
    ] as const) {
      const answer = await call(endpoint, { token: owner.token, subaccountId, body });
      expect([answer.status, answer.body.code]).toEqual([503, "CONNECTION_FAILED"]);
      expect(JSON.stringify(answer.body)).not.toContain(name);
      const reason = { cause: { message: `The subaccount's ${name} is not text` } };
      expect(logOf(answer, "ERROR")).toMatchObject([{ subaccountId, reason }]);
    }
    expect((await call("list", { token: stranger.token, subaccountId })).body.code).toBe("PERMISSION_DENIED");
  });

  it.each(["has space", "a.b", "a/b", "$a", "x".repeat(70)])(
    "is an answer of 503 when no database may have its name: %j",
    async (databaseName) => {
      const { owner, subaccountId, agentId, apiKey } = await aWorld({ subaccount: { databaseName } });
      const chatId = "chat_of_nobody";
      for (const [endpoint, body] of [
        ["create", { agentId }],
        ["message", { content: "ping" }],
        ["end", undefined],
        ["list", undefined],
        ["transcript", undefined],
      ] as const) {
        const answer = await call(endpoint, { token: owner.token, subaccountId, chatId, body });
        expect([endpoint, ...verdict(answer)]).toEqual([endpoint, 503, "CONNECTION_FAILED"]);
      }
      const body = JSON.stringify({ event: "chat_ended", chat: { chat_id: chatId, chat_status: "ended" } });
      const headers = { "x-retell-signature": await sign(body, apiKey) };
      expect(verdict(await call("webhook", { subaccountId, body, headers }))).toEqual([503, "CONNECTION_FAILED"]);
    },
  );

  it.each([{ databaseName: null }, { mongodbUrl: null }, { mongodbUrl: "" }])(
    "may be left out by null or an empty text: %j",
    async (subaccount) => {
      const { owner, subaccountId } = await aWorld({ subaccount });
      expect((await call("list", { token: owner.token, subaccountId })).status).toBe(200);
    },
  );
});
