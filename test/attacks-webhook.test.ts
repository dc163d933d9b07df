import "./support/own-retell.ts";
import { ObjectId } from "mongodb";
import { symmetric } from "retell-sdk/lib/webhook_auth";
import { describe, expect, it } from "vitest";
import { encrypt } from "../lib/platform/crypto.ts";
import { neighbours, raw, shown, stateOf } from "./support/attack.ts";
import { aChat, central, type World } from "./support/world.ts";

const [mine, theirs] = await neighbours();

const ended = (chatId: string, more: object = {}) => ({
  event: "chat_ended",
  chat: { chat_id: chatId, agent_id: "agent_shop", chat_status: "ended", end_timestamp: 7, ...more },
});

/** Delivers to a tenant; signed now with its own key unless a header is given. */
async function deliver(to: World, body: string | Buffer, header?: string) {
  const signature = header ?? (await symmetric.sign(body.toString(), to.apiKey));
  return raw({
    method: "POST",
    target: `/api/webhooks/retell/${to.subaccountId}`,
    headers: { "content-type": "application/json", "x-retell-signature": signature },
    body,
  });
}

/** Every one of them gets the answer that a tenant gets who does not exist, and nothing changes. */
async function expectForged(attacks: (() => ReturnType<typeof deliver>)[]): Promise<void> {
  const nobody = await deliver({ ...mine, subaccountId: new ObjectId().toHexString() }, "{}");
  expect([nobody.status, nobody.body.code]).toEqual([401, "INVALID_SIGNATURE"]);
  const before = [await stateOf(mine), await stateOf(theirs)];
  for (const attack of attacks) expect(shown(await attack())).toEqual(shown(nobody));
  expect([await stateOf(mine), await stateOf(theirs)]).toEqual(before);
}

describe("a webhook is refused", async () => {
  const body = JSON.stringify(ended(await aChat(mine)));

  it("by every key but the tenant's own", async () => {
    const keys = [
      theirs.apiKey,
      process.env.JWT_SECRET ?? "-",
      process.env.ENCRYPTION_KEY ?? "-",
      mine.subaccountId,
      "x",
    ];
    await expectForged(keys.map((key) => async () => deliver(mine, body, await symmetric.sign(body, key))));
  });

  it("in every other form of the header, though the digest is right", async () => {
    const good = await symmetric.sign(body, mine.apiKey);
    const [v = "", d = ""] = good.split(",");
    const headers = [
      good.toUpperCase(),
      `${v},d=${d.slice(2).toUpperCase()}`,
      ` ${good}`,
      `${good} `,
      `${v}, ${d}`,
      `${d},${v}`,
      `${good},${good.slice(0, -1)}0${good.slice(-1) === "0" ? "1" : ""}`,
      `${good},`.repeat(2) + d,
      `${v},${good}`,
      `${good}\n`,
      `${v}`,
      `${d}`,
      `v=-${v.slice(2)},${d}`,
      `v=0${v.slice(2)},${d}`,
      `v=${v.slice(2, -1)},${d}`,
      `v=1.7e12,${d}`,
      `v=NaN,${d}`,
      `v=,${d}`,
      `${v},d=`,
      `${good}0`,
      `${good.slice(0, -1)}g`,
      "x".repeat(100_000),
    ];
    await expectForged(headers.map((header) => () => deliver(mine, body, header)));
  });

  it("with the time of one and the digest of another delivery, and outside of five minutes either way", async () => {
    const at = (ms: number) => symmetric.sign(body, mine.apiKey, Date.now() + ms);
    const [one, other] = [await at(-1_000), await at(0)];
    await expectForged([
      () => deliver(mine, body, `${one.split(",")[0]},${other.split(",")[1]}`),
      async () => deliver(mine, body, await at(-301_000)),
      async () => deliver(mine, body, await at(302_000)),
      async () => deliver(mine, body, await at(10 * 365 * 86_400_000)),
    ]);
  });

  it("with any bit of the body turned, cut short, or written otherwise", async () => {
    const header = await symmetric.sign(body, mine.apiKey);
    const bytes = Buffer.from(body);
    const turned = [...Array(bytes.length * 8).keys()].map((bit) => {
      const copy = Buffer.from(bytes);
      copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      return copy;
    });
    const parsed = JSON.parse(body);
    const otherwise = [
      body.slice(0, -1),
      `${body}\n`,
      ` ${body}`,
      `\ufeff${body}`,
      "",
      "{}",
      JSON.stringify(parsed, null, 2),
      JSON.stringify({ chat: parsed.chat, event: parsed.event }),
      body.replace("chat_ended", "chat\\u005fended"),
      Buffer.from(body).toString("base64"),
      Buffer.from(body, "utf16le"),
    ];
    await expectForged([...turned, ...otherwise].map((attack) => () => deliver(mine, attack, header)));
  });
});

describe("a webhook that is signed well", () => {
  it("says nothing new when it is replayed, and nothing at all at another tenant's address", async () => {
    const body = JSON.stringify(ended(await aChat(mine), { chat_analysis: { chat_summary: "short" } }));
    const header = await symmetric.sign(body, mine.apiKey);
    expect((await deliver(mine, body, header)).status).toBe(200);
    const before = [await stateOf(mine), await stateOf(theirs)];
    for (let i = 0; i < 3; i++) expect((await deliver(mine, body, header)).status).toBe(200);
    expect([await stateOf(mine), await stateOf(theirs)]).toEqual(before);
    await expectForged([() => deliver(theirs, body, header)]);
  });

  it("changes no chat but those of the subaccount in its path, even where two share a Retell account", async () => {
    const [one, two] = await neighbours();
    const apiKey = await encrypt(one.apiKey, two.subaccountId);
    const subaccountId = new ObjectId(two.subaccountId);
    await central.collection("retellaccounts").updateOne({ subaccountId }, { $set: { apiKey } });
    const other = { ...two, apiKey: one.apiKey };
    const [inOne, inOther] = [await aChat(one), await aChat(other)];
    const before = [await stateOf(one), await stateOf(other)];
    expect((await deliver(one, JSON.stringify(ended(inOther)))).status).toBe(200);
    expect((await deliver(other, JSON.stringify(ended(inOne)))).status).toBe(200);
    expect([await stateOf(one), await stateOf(other)]).toEqual(before);
    // At its own address, each is accepted.
    expect((await deliver(other, JSON.stringify(ended(inOther)))).status).toBe(200);
    expect(await stateOf(other)).not.toEqual(before[1]);
  });

  it.each<[string, string]>([
    ["10,000 levels", "[".repeat(10_000) + "]".repeat(10_000)],
    ["10,000 levels in the chat", `{"event":"chat_ended","chat":${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}}`],
    ["5 MB", JSON.stringify({ event: "x".repeat(5_000_000) })],
    ["an operator for an id", JSON.stringify(ended({ $gt: "" } as never))],
    ["an operator as text", JSON.stringify(ended('{"$gt":""}'))],
    ["an empty id", JSON.stringify(ended(""))],
    ["NUL and half a surrogate pair in the id", JSON.stringify(ended("chat\0\ud800"))],
    ["a prototype's name for an id", JSON.stringify(ended("__proto__"))],
    ["prototype keys", '{"event":"chat_ended","__proto__":{"isAdmin":true},"chat":{"__proto__":{"chat_id":"x"}}}'],
    ["a line break in the event", JSON.stringify({ event: 'x\n{"level":"ERROR"}' })],
    ["no JSON", "<html>"],
    ["nothing", ""],
  ])("and holds %s is taken for good, and changes nothing", async (_what, body) => {
    const before = await stateOf(mine);
    const { status, body: answer } = await deliver(mine, body);
    expect([status, answer.data]).toEqual([200, { received: true }]);
    expect(await stateOf(mine)).toEqual(before);
    expect("isAdmin" in {}).toBe(false);
  });

  it.each<[string, string]>([
    ["ten thousand levels", `${'{"a":'.repeat(10_000)}1${"}".repeat(10_000)}`],
    ["what looks like one of the driver's types", '{"_bsontype":"ObjectId","a":{"_bsontype":"Long"}}'],
    ["a name with NUL", '{"a\\u0000b":1}'],
  ])("and holds %s is taken for what can be stored of it", async (_what, unstorable) => {
    for (const field of ["chat_analysis", "chat_cost", "collected_dynamic_variables"]) {
      const chatId = await aChat(mine);
      const body = JSON.stringify(ended(chatId, { [field]: "@" })).replace('"@"', unstorable);
      const { status, body: answer } = await deliver(mine, body);
      expect([status, answer.data]).toEqual([200, { received: true }]);
      expect(await mine.db.collection("chats").findOne({ chat_id: chatId })).toMatchObject({ chat_status: "ended" });
    }
  });
});
