import "./support/own-retell.ts";
import "./support/unlimited.ts";
import { ObjectId } from "mongodb";
import { describe, expect, it } from "vitest";
import { handler as sweep } from "../functions/sweep.ts";
import { encodeCursor } from "../lib/chat/cursor.ts";
import { guarded, neighbours, rightRequest, shown, stateOf } from "./support/attack.ts";
import { aChat, aMembership, aUser, aWorld, call, central, fault, type Request, type World } from "./support/world.ts";

// The worst case: another tenant in the same database, where nothing but the subaccount's id keeps them apart.
const [mine, theirs] = await neighbours();
const own = await aChat(mine);
const ongoing = await aChat(theirs);
const ended = await aChat(theirs);
const inTheirs = { token: theirs.owner.token, subaccountId: theirs.subaccountId };
await call("end", { ...inTheirs, chatId: ended });
await call("transcript", { ...inTheirs, chatId: ended }); // which is cached from now on
await call("list", inTheirs);
const busy = await aChat(theirs);
await theirs.db
  .collection("chats")
  .updateOne({ chat_id: busy }, { $set: { "internal.turn": { id: "t", state: "sending", at: new Date() } } });

const withChat = guarded.filter(([, { path }]) => path.includes("{chatId}"));

/** All of these requests get the same answer in every detail, and change nothing of either tenant. */
async function expectAlike(name: (typeof guarded)[number][0], requests: Request[], status: number, code: string) {
  const before = [await stateOf(mine), await stateOf(theirs)];
  const answers = [];
  for (const request of requests) answers.push(await call(name, request));
  for (const answer of answers) {
    expect([answer.status, answer.body.code]).toEqual([status, code]);
    expect(shown(answer)).toEqual(shown(answers[0] ?? answer));
  }
  expect([await stateOf(mine), await stateOf(theirs)]).toEqual(before);
}

describe.each(guarded)("to %s, another tenant's", (name, route) => {
  it("subaccountId is like one that does not exist, to everybody who is not let in", async () => {
    const closed = await aWorld({ subaccount: { isActive: false } });
    const away = await aWorld({ subaccount: { maintenanceMode: true, maintenanceMessage: "Back at noon" } });
    const bare = await aWorld({ account: null });
    const places = [theirs, closed, away, bare].map(({ subaccountId }) => subaccountId);
    for (const { token } of [mine.owner, mine.stranger]) {
      const at = [...places, new ObjectId().toHexString()].map((subaccountId) =>
        rightRequest(mine, ongoing, route, { token, subaccountId }),
      );
      const other = rightRequest(theirs, "chat_nobodys", route, { token });
      await expectAlike(name, [...at, other, ...at], 403, "PERMISSION_DENIED"); // twice: known to be a stranger by then
    }
  });

  it("and one's own chats and agents are nothing to a member without the right to ask", async () => {
    const user = await aUser();
    await aMembership(mine.subaccountId, user.id, []);
    const requests = [own, "chat_nobodys", ended].flatMap((chatId) =>
      [mine.agentId, "agent_nobodys", theirs.agentId].map((agentId) =>
        rightRequest(mine, chatId, route, {
          token: user.token,
          ...(route.body ? { body: { agentId, content: "hello", format: "jsonl" } } : {}),
        }),
      ),
    );
    await expectAlike(name, requests, 403, "PERMISSION_DENIED");
  });

  it("X-Operation-Id gives nothing of what it stood for", async () => {
    const { headers } = await call("list", inTheirs);
    const id = { "x-operation-id": headers["x-operation-id"] ?? "" };
    const answer = await call(name, rightRequest(mine, await aChat(mine), route, { headers: id }));
    expect(answer.headers).toMatchObject(id);
    const { body } = answer;
    expect(JSON.stringify(body)).not.toContain(theirs.subaccountId);
  });
});

describe.each(withChat)("to %s, another tenant's", (name, route) => {
  it("chatId is like one that does not exist, whatever its state, cached or not", async () => {
    const requests = ["chat_nobodys", ongoing, ended, busy].flatMap((chatId) => [
      rightRequest(mine, chatId, route),
      rightRequest(mine, chatId, route, { headers: { "idempotency-key": "k1" } }),
    ]);
    await expectAlike(name, requests, 404, "CHAT_NOT_FOUND");
  });
});

describe("to create, another tenant's", () => {
  it("agentId is like one that does not exist, with a key or without", async () => {
    const requests = ["agent_nobodys", theirs.agentId, theirs.agentId.toUpperCase()].flatMap((agentId) => [
      { token: mine.owner.token, subaccountId: mine.subaccountId, body: { agentId } },
      {
        token: mine.owner.token,
        subaccountId: mine.subaccountId,
        body: { agentId },
        headers: { "idempotency-key": crypto.randomUUID() },
      },
    ]);
    await expectAlike("create", requests, 404, "AGENT_NOT_FOUND");
  });

  it("ids, wherever else in the body they stand, do not get into the document", async () => {
    const spoof = {
      chat_id: ongoing,
      subaccountId: theirs.subaccountId,
      createdBy: theirs.owner.id,
      retellAccountId: "x",
      internal: { retellUserCount: 7, request: "x" },
      _id: new ObjectId().toHexString(),
    };
    const chatId = await aChat(mine, { ...spoof, metadata: spoof, retell_llm_dynamic_variables: { chat_id: ongoing } });
    const chat = await mine.db.collection("chats").findOne({ chat_id: chatId });
    expect(chat).toMatchObject({
      subaccountId: mine.subaccountId,
      createdBy: mine.owner.id,
      internal: { retellUserCount: 0 },
      metadata: spoof,
      retell_llm_dynamic_variables: { chat_id: chatId, subaccount_id: mine.subaccountId },
    });
    expect(chat?.internal.request).toBeUndefined();
    expect(await mine.db.collection("chats").countDocuments({ chat_id: ongoing })).toBe(1);
  });
});

describe("an Idempotency-Key", () => {
  /** A user who is a member of both tenants. */
  async function forBoth(): Promise<[World, World]> {
    const user = await aUser();
    for (const { subaccountId } of [mine, theirs]) await aMembership(subaccountId, user.id, ["read", "write"]);
    return [
      { ...mine, owner: user },
      { ...theirs, owner: user },
    ];
  }
  const createIn = ({ owner, subaccountId, agentId }: World, key: string) =>
    call("create", { token: owner.token, subaccountId, body: { agentId }, headers: { "idempotency-key": key } });
  const sendIn = ({ owner, subaccountId }: World, chatId: string, key: string) =>
    call("message", {
      token: owner.token,
      subaccountId,
      chatId,
      body: { content: "ping" },
      headers: { "idempotency-key": key },
    });

  it("is each tenant's and each user's own: nobody is shown another's chat", async () => {
    const [here, there] = await forBoth();
    const key = crypto.randomUUID();
    const seen = new Set<string>();
    const same = { agentId: "agent_both" };
    for (const { subaccountId } of [here, there])
      await here.db.collection("chatagents").insertOne({ agentId: same.agentId, subaccountId });
    for (const world of [here, there, mine, theirs]) {
      const { status, headers, body } = await createIn({ ...world, ...same }, key);
      expect([status, headers["idempotent-replayed"]]).toEqual([200, undefined]);
      seen.add(body.data.chat_id);
    }
    expect(seen.size).toBe(4);
  });

  it("is each chat's and each endpoint's own: nobody is shown another's answer", async () => {
    const [here, there] = await forBoth();
    const key = crypto.randomUUID();
    const { body } = await createIn(here, key);
    for (const [world, chatId] of [
      [here, body.data.chat_id],
      [there, await aChat(there)],
      [here, await aChat(here)],
    ] as const) {
      const { status, headers } = await sendIn(world, chatId, key);
      expect([status, headers["idempotent-replayed"]]).toEqual([200, undefined]);
    }
    // A key that was used in the other tenant has no effect here.
    expect((await sendIn(mine, ongoing, key)).status).toBe(404);
  });
});

describe("a cursor", () => {
  const list = (cursor: string) =>
    call("list", { token: mine.owner.token, subaccountId: mine.subaccountId, query: { cursor, limit: "500" } });
  const idsOf = async ({ subaccountId, db }: World) =>
    (await db.collection("chats").find({ subaccountId }).toArray()).map((chat) => chat.chat_id as string);

  /** Refused as no cursor, or a page of the caller's own chats. */
  async function expectHarmless(cursor: string): Promise<void> {
    const { status, body } = await list(cursor);
    if (status === 200) {
      const ours = await idsOf(mine);
      expect(body.data.filter(({ chat_id }: { chat_id: string }) => !ours.includes(chat_id))).toEqual([]);
    } else {
      expect([status, body.code]).toEqual([400, "VALIDATION_ERROR"]);
      expect(body.errors).toEqual([{ field: "cursor", in: "query", message: "Must be a nextCursor of this list" }]);
    }
  }

  it("of another tenant, and each of its bits turned, shows one's own chats or is refused", async () => {
    const { body } = await call("list", { ...inTheirs, query: { limit: "1" } });
    const cursor: string = body.meta.nextCursor;
    await expectHarmless(cursor);
    const bytes = Buffer.from(cursor);
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const turned = Buffer.from(bytes);
      turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await expectHarmless(turned.toString("latin1"));
    }
  });

  it.each<[string, boolean]>([
    ['[-1,"a"]', true],
    ['[9007199254740991,"~"]', true],
    ['[9007199254740991,"z"]', true],
    ['[9007199254740992,"z"]', true],
    ['[1e308,"z"]', true],
    ['[1e999,"z"]', false],
    ['[NaN,"z"]', false],
    ['[0.5,"z"]', true],
    ['["1","z"]', true],
    ['["$start_timestamp","$$ROOT"]', true],
    ['[null,"z"]', true],
    ['[{"$numberDouble":"NaN"},{"$oid":"5ca1ab1e0000000000000010"}]', true],
    ['[{"$date":-1},{"$maxKey":1}]', true],
    ['[{"$numberLong":"9223372036854775808"},"z"]', false],
    ['[{"$numberLong":"01"},"z"]', false],
    ['[{"$numberDecimal":"1E+6145"},"z"]', false],
    ['[{"$numberDecimal":"12345678901234567890123456789012345"},"z"]', false],
    ['[{"$date":"2026-01-01T00:00:00Z"},"z"]', false],
    ['[{"$oid":"5CA1"},"z"]', false],
    ['[{"$oid":"5ca1ab1e0000000000000010","$gt":1},"z"]', false],
    ['[{"$date":8640000000000001},"z"]', false],
    ['[{"$date":0.5},"z"]', false],
    ['[{"$code":"sleep(1000)"},"z"]', false],
    ['[{"$regularExpression":{"pattern":"(a+)+","options":""}},"z"]', false],
    ['[{"$maxKey":2},"z"]', false],
    ['[{},"z"]', false],
    ['[{"$gt":0},"z"]', false],
    ['[1,{"$gt":""}]', false],
    ['[1,{"$regex":".*"}]', false],
    ['[1,["z"]]', false],
    ['[1,"z","x"]', false],
    ['[1,"z",0]', false],
    ['[1,"z",-1]', false],
    ['[1,"z",10000]', true],
    ['[1,"z",10001]', false],
    ['[1,"z",1,1]', false],
    ['[1,""]', true],
    ["[1]", false],
    ["[]", false],
    ["{}", false],
    ['{"0":1,"1":"z","length":2}', false],
    ['{"__proto__":[1,"z"]}', false],
    ["null", false],
    ['[1,"z\\u0000"]', true],
    ['[1,"\\ud800"]', false],
    [`${"[".repeat(180)}${"]".repeat(180)}`, false],
  ])("of %s is taken: %s", async (text, taken) => {
    const cursor = Buffer.from(text).toString("base64url");
    expect((await list(cursor)).status).toBe(taken ? 200 : 400);
    await expectHarmless(cursor);
  });

  it("of a chat of another tenant's is a place in time, and nothing more", async () => {
    const chat = await theirs.db.collection("chats").findOne({ chat_id: ongoing });
    const position = { start_timestamp: chat?.start_timestamp, chat_id: ongoing };
    const other = { ...position, chat_id: `${ongoing}x` };
    expect(shown(await list(encodeCursor(position)))).toEqual(shown(await list(encodeCursor(other))));
  });
});

describe("a shared database", () => {
  it("is never asked for chats or agents without a subaccountId, by no endpoint and no sweep", async () => {
    const { token } = mine.owner;
    const where = { token, subaccountId: mine.subaccountId };
    await mine.db.command({ profile: 2 });
    let exportId = "";
    for (const [name, route] of guarded) {
      const headers = { "idempotency-key": crypto.randomUUID() };
      const request = rightRequest(mine, await aChat(mine), route, { headers, exportId });
      for (const repeat of [request, request]) {
        const { status, body } = await call(name, repeat);
        expect(status).toBeLessThan(300);
        exportId = body.data?.export_id ?? exportId;
      }
    }
    await call("list", { ...where, query: { cursor: encodeCursor({ start_timestamp: Date.now(), chat_id: "z" }) } });
    await fault(mine, "completion", { kind: "drop" });
    const lost = await aChat(mine);
    await call("message", { ...where, chatId: lost, body: { content: "ping" } });
    await mine.db.collection("chats").updateMany({}, { $set: { "internal.nextSweepAt": new Date(0) } });
    await sweep();
    await mine.db.command({ profile: 0 });

    const profile = await mine.db
      .collection("system.profile")
      .find({ ns: /\.(chats|chatagents)$/ })
      .toArray();
    const ours = profile.filter(({ appName }) => appName === "scalai-chat");
    const kinds = new Set(ours.map(({ op, command }) => `${op} ${Object.keys(command)[0]}`));
    expect([...kinds]).toEqual(expect.arrayContaining(["query find", "command aggregate", "command findAndModify"]));
    for (const { command } of ours) {
      const filter =
        command.filter ?? command.query ?? command.q ?? command.pipeline?.[0].$match ?? command.documents?.[0];
      const parts = filter?.subaccountId ? [filter] : (filter?.$or ?? [{}]);
      for (const part of parts) expect({ command, id: part.subaccountId }).toEqual({ command, id: expect.any(String) });
    }
  });

  it("shows each tenant all of its own chats, and none of the other's", async () => {
    const all = await central.collection("subaccounts").find({ databaseName: mine.db.databaseName }).toArray();
    expect(all).toHaveLength(2);
    for (const world of [mine, theirs]) {
      const request = { token: world.owner.token, subaccountId: world.subaccountId, query: { limit: "499" } };
      const { body } = await call("list", request);
      const ids = body.data.map(({ chat_id }: { chat_id: string }) => chat_id).sort();
      const stored = await world.db
        .collection("chats")
        .find({ subaccountId: world.subaccountId, "internal.tombstone": { $exists: false } })
        .toArray();
      expect(ids).toEqual(stored.map(({ chat_id }) => chat_id).sort());
    }
  });
});
