import { readFile } from "node:fs/promises";
import { BSON, type Document, MongoClient, ObjectId } from "mongodb";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { aToken, call, central, control } from "./support/world.ts";

/**
 * The documents of the old server, as it wrote them. Two things are changed, because they name a place: the cluster
 * address is this machine's (encrypted as it was), and each test's chats have ids of their own.
 */
const load = async (name: string): Promise<Document[]> =>
  BSON.EJSON.parse(await readFile(new URL(`old/${name}.json`, import.meta.url), "utf8"), { relaxed: true });

const apiKey = "key_old_0123456789abcdef0123456789ab";
const owner = "64a000000000000000000001";
const viewer = "64a000000000000000000002";
const subaccountId = "64b000000000000000000001";
const agentId = "agent_1ffdb9717585adc1a2b3c4d5e6";
/** Of each test its own: the simulator remembers. */
let damaged = "";
let ended = "";

const client = new MongoClient(process.env.MONGODB_URL ?? "");
afterAll(() => client.close());
const own = client.db("acme_support");
const token = await aToken({ id: owner, email: "owner@acme.example", role: "user" });

beforeEach(async () => {
  const [subaccounts, memberships, accounts, agents, chats] = await Promise.all(
    ["subaccounts", "usersubaccounts", "retellaccounts", "chatagents", "chats"].map(load),
  );
  const [subaccount] = subaccounts ?? [];
  const id = new ObjectId(subaccountId);
  await central.collection("subaccounts").deleteOne({ _id: id });
  await central.collection("usersubaccounts").deleteMany({ subaccountId: id });
  await central.collection("retellaccounts").deleteMany({ subaccountId: id });
  await own.dropDatabase();

  await central
    .collection("subaccounts")
    .insertOne({ ...subaccount, ...(await asOldServer(process.env.MONGODB_URL ?? "")) });
  await central.collection("usersubaccounts").insertMany(memberships ?? []);
  await central.collection("retellaccounts").insertMany(accounts ?? []);
  await own.collection("chatagents").insertMany(agents ?? []);
  for (const chat of chats ?? []) chat.chat_id = `${chat.chat_id.slice(0, 20)}${crypto.randomUUID().slice(0, 8)}`;
  await own.collection("chats").insertMany(chats ?? []);
  [damaged, ended] = (chats ?? []).map(({ chat_id }) => chat_id) as [string, string];
});

/** Encrypts a cluster address as the old server does: AES-256-CBC, scrypt, "subaccount-salt". */
async function asOldServer(url: string) {
  const { createCipheriv, randomBytes, scryptSync } = await import("node:crypto");
  const iv = randomBytes(16);
  const cipher = createCipheriv(
    "aes-256-cbc",
    scryptSync("old-server-encryption-key-for-tests", "subaccount-salt", 32),
    iv,
  );
  return { mongodbUrl: cipher.update(url, "utf8", "hex") + cipher.final("hex"), encryptionIV: iv.toString("hex") };
}

const at = (chatId: string) => ({ token, subaccountId, chatId });

describe("documents of the old server", () => {
  it("decrypt as they are: the cluster address and the Retell key", async () => {
    const { decrypt } = await import("../lib/platform/crypto.ts");
    const [[subaccount], [account]] = await Promise.all([load("subaccounts"), load("retellaccounts")]);
    const sealed = (document: Document | undefined, text: string) => ({ text, iv: document?.encryptionIV });
    expect(await decrypt(sealed(subaccount, subaccount?.mongodbUrl), subaccountId, "subaccount-salt")).toBe(
      "mongodb://127.0.0.1:27017/?replicaSet=rs0",
    );
    expect(await decrypt(sealed(account, account?.apiKey), subaccountId, "retell-salt")).toBe(apiKey);
  });

  it("let their owner in, by ids that are ObjectIds, and create a chat with their key", async () => {
    const { status, body } = await call("create", { token, subaccountId, body: { agentId } });
    expect(status).toBe(200);
    expect(body.data.retellAccount).toEqual({ accountName: "Acme Retell", accountId: "64c000000000000000000001" });
    expect((await control("retell", "GET", `/chats/${body.data.chat_id}`)).key).toBe(apiKey);
  });

  it("keep a viewer with expired temporary access out", async () => {
    const expired = await aToken({ id: viewer, role: "user" });
    const { status, body } = await call("list", { token: expired, subaccountId });
    expect([status, body.details]).toEqual([403, { requiredPermission: "read", effectiveRole: "none" }]);
  });

  it("are listed, with tool calls not counted as messages", async () => {
    const { body } = await call("list", { token, subaccountId });
    expect(body.data.map((chat: Document) => [chat.chat_id, chat.chat_status, chat.message_count])).toEqual([
      [damaged, "ongoing", 1],
      [ended, "ended", 4],
    ]);
    expect(body.data[0].createdAt).toBe("2025-10-02T09:40:00.000Z");
  });

  it("show an ended chat as it is stored, and ask nothing of Retell", async () => {
    const { status, body } = await call("transcript", at(ended));
    expect(status).toBe(200);
    expect(body.data).toMatchObject({
      transcript: expect.stringContaining("User: Where is my order?"),
      message_count: 4,
      chat_cost: { combined_cost: 70 },
      chat_analysis: { chat_successful: true },
      metadata: { crm_id: "C-99" },
    });
    expect(body.data.messages.map((m: Document) => m.role)).toEqual(["agent", "user", "agent", "agent"]);
    expect((await control("retell", "GET", `/requests?chat_id=${ended}`)).requests).toEqual([]);
  });

  describe("with a damaged history, its messages overwritten by the last turn's", () => {
    const whole = [
      { role: "agent", content: "Hi! How can I help?", message_id: "m-1" },
      { role: "user", content: "Where is my order?" },
      { role: "agent", content: "It arrives on Friday.", message_id: "m-4" },
      { role: "user", content: "Thanks" },
      { role: "agent", content: "You are welcome. Anything else?", message_id: "m-7" },
    ];
    const contents = whole.map(({ content }) => content);

    beforeEach(async () => {
      await control("retell", "POST", "/chats", { chat_id: damaged, key: apiKey, agent_id: agentId, entries: whole });
    });

    it("are healed by the first read", async () => {
      const { body } = await call("transcript", at(damaged));
      expect(body.data.messages.map((m: Document) => m.content)).toEqual(contents);
      expect(body.data.message_count).toBe(5);
      const chat = await own.collection("chats").findOne({ chat_id: damaged });
      expect(chat?.messages).toHaveLength(5);
      expect(chat?.internal).toMatchObject({ retellUserCount: 2 });
    });

    it("are healed by the first send, which follows in order", async () => {
      const sent = await call("message", { ...at(damaged), body: { content: "ping 9" } });
      expect([sent.status, sent.body.data?.user_message.seq]).toEqual([200, 6]);
      const chat = await own.collection("chats").findOne({ chat_id: damaged });
      expect(chat?.messages.map((m: Document) => m.content).slice(0, 6)).toEqual([...contents, "ping 9"]);
    });

    it("are ended with their whole history", async () => {
      expect((await call("end", at(damaged))).body.data?.chat_status).toBe("ended");
      expect((await own.collection("chats").findOne({ chat_id: damaged }))?.messages).toHaveLength(5);
    });
  });

  it("keep what they have when Retell knows the chat no more", async () => {
    const { body } = await call("transcript", at(damaged));
    expect(body.data.messages.map((m: Document) => m.content)).toEqual(["You are welcome. Anything else?"]);
    expect(body.meta.stale).toBe(true);
  });
});
