import { createCipheriv, randomBytes, scryptSync } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Document, ObjectId } from "mongodb";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { encrypt } from "../lib/platform/crypto.ts";
import { key, redis } from "../lib/platform/redis.ts";
import { tool } from "./support/tool.ts";
import { anInstance } from "./support/wire.ts";
import { aWorld, central, control, type World } from "./support/world.ts";

const accounts = central.collection("retellaccounts");
const subaccounts = central.collection("subaccounts");

const oldKey = process.env.ENCRYPTION_KEY ?? "";
const newKey = randomBytes(32).toString("hex");
/** After the rotation of the setting: the new key is the current one, the old one is still known. */
const rotated = { ENCRYPTION_KEY: newKey, ENCRYPTION_KEYS_OLD: oldKey };

beforeEach(async () => {
  await Promise.all([accounts.deleteMany({}), subaccounts.deleteMany({})]);
});

const rotate = (args: string[] = ["--old-server-gone"], env: NodeJS.ProcessEnv = rotated) =>
  tool("keys rotate", [...args, "--yes"], env);

/** Encrypts as the old server does. */
function asOldServer(secret: string, salt: string) {
  const iv = randomBytes(16);
  const cipher = createCipheriv("aes-256-cbc", scryptSync(oldKey, salt, 32), iv);
  return {
    text: cipher.update(secret, "utf8", "hex") + cipher.final("hex"),
    fields: { encryptionIV: iv.toString("hex"), encryptionAuthTag: "cbc-mode" },
  };
}

/** The library as an instance with these settings has it. */
async function cryptoUnder(settings: Record<string, string>) {
  const before = { ...process.env };
  Object.assign(process.env, settings);
  vi.resetModules();
  const crypto = await import("../lib/platform/crypto.ts");
  const { config } = await import("../lib/platform/config.ts");
  config(); // read while the settings stand
  process.env = before;
  return crypto;
}
const later = () => cryptoUnder({ ENCRYPTION_KEY: newKey, ENCRYPTION_KEYS_OLD: "" });

/** A tenant as the old server has it, with webhook keys of ours, and a cluster of its own. */
async function anOldWorld(): Promise<World> {
  const world = await aWorld();
  const id = new ObjectId(world.subaccountId);
  const apiKey = asOldServer(world.apiKey, "retell-salt");
  const url = asOldServer(process.env.MONGODB_URL ?? "", "subaccount-salt");
  const webhookKeys = await Promise.all(["hook_one", "hook_two"].map((one) => encrypt(one, world.subaccountId)));
  await accounts.updateOne({ subaccountId: id }, { $set: { apiKey: apiKey.text, ...apiKey.fields, webhookKeys } });
  await subaccounts.updateOne({ _id: id }, { $set: { mongodbUrl: url.text, ...url.fields } });
  return world;
}

const accountOf = (world: World) => accounts.findOne({ subaccountId: new ObjectId(world.subaccountId) });
const subaccountOf = (world: World) => subaccounts.findOne({ _id: new ObjectId(world.subaccountId) });
const everything = async () => JSON.stringify([await accounts.find().toArray(), await subaccounts.find().toArray()]);
const lastLine = ({ stdout }: { stdout: string }) => stdout.trimEnd().split("\n").at(-1);

describe("npm run ops -- keys rotate", () => {
  it("encrypts what the old server or an older key encrypted anew: the new key alone opens it", async () => {
    const world = await anOldWorld();
    const ended = await rotate();
    expect([ended.code, lastLine(ended)]).toEqual([0, "2 rotated, 0 pending, 0 current, 0 failed"]);

    const { decrypt } = await later();
    const account = await accountOf(world);
    const subaccount = await subaccountOf(world);
    const opened = (text: string, salt: "retell-salt" | "subaccount-salt") =>
      decrypt({ text }, world.subaccountId, salt);
    expect(await opened(account?.apiKey, "retell-salt")).toBe(world.apiKey);
    expect(await Promise.all(account?.webhookKeys.map((text: string) => opened(text, "retell-salt")))).toEqual([
      "hook_one",
      "hook_two",
    ]);
    expect(await opened(subaccount?.mongodbUrl, "subaccount-salt")).toBe(process.env.MONGODB_URL);
    for (const document of [account, subaccount]) {
      expect(document).not.toHaveProperty("encryptionIV");
      expect(document).not.toHaveProperty("encryptionAuthTag");
    }
    expect(subaccount).toMatchObject({ databaseName: world.db.databaseName, isActive: true });
  });

  it("encrypts without the white space around it, and takes null for no webhook keys", async () => {
    const world = await anOldWorld();
    const old = asOldServer(`\t${world.apiKey}\n`, "retell-salt");
    const change = { apiKey: old.text, ...old.fields, webhookKeys: null };
    await accounts.updateOne({ subaccountId: new ObjectId(world.subaccountId) }, { $set: change });
    expect(lastLine(await rotate())).toBe("2 rotated, 0 pending, 0 current, 0 failed");
    // GCM's ciphertext is as long as what is in it.
    const account = await accountOf(world);
    expect(Buffer.from(account?.apiKey.split(".")[4], "base64url")).toHaveLength(world.apiKey.length);
    expect(account?.webhookKeys).toBeNull();
  });

  it("refuses while the old server may run: exit code 1, nothing changed", async () => {
    await anOldWorld();
    const before = await everything();
    const ended = await rotate([]);
    expect([ended.code, ended.stderr]).toEqual([1, expect.stringContaining("--old-server-gone")]);
    expect(await everything()).toBe(before);
  });

  it("says in a dry run what it would do, and changes nothing", async () => {
    const world = await anOldWorld();
    const before = await everything();
    const ended = await rotate(["--dry-run"]);
    expect([ended.code, lastLine(ended)]).toEqual([0, "0 rotated, 2 pending, 0 current, 0 failed"]);
    expect(ended.stdout).toMatch(
      new RegExp(
        `^pending  retellaccounts [0-9a-f]{24}, subaccount ${world.subaccountId}: apiKey, 2 webhookKeys$`,
        "m",
      ),
    );
    expect(await everything()).toBe(before);
  });

  it("changes nothing a second time", async () => {
    await anOldWorld();
    await rotate();
    const before = await everything();
    const ended = await rotate();
    expect([ended.code, lastLine(ended)]).toEqual([0, "0 rotated, 0 pending, 2 current, 0 failed"]);
    expect(await everything()).toBe(before);
  });

  it("names what does not decrypt, leaves it as it is, and goes on with the others: exit code 1", async () => {
    const [broken, whole] = [await aWorld(), await aWorld()];
    const id = new ObjectId(broken.subaccountId);
    await accounts.updateOne({ subaccountId: id }, { $set: { apiKey: "v2.00000000.AAAA.AAAA.AAAA" } });
    const [document] = [await accountOf(broken)];
    const ended = await rotate();
    expect([ended.code, lastLine(ended)]).toEqual([1, "1 rotated, 0 pending, 0 current, 1 failed"]);
    expect(ended.stderr).toContain(`retellaccounts ${document?._id}, subaccount ${broken.subaccountId}`);
    expect(await accountOf(broken)).toEqual(document);
    expect((await accountOf(whole))?.apiKey).toMatch(/^v2\./);
  });

  it.each<[string, Document]>([
    ["a key copied from another subaccount", {}],
    ["a key that is no text", { apiKey: 7 }],
    ["webhook keys that are no list", { webhookKeys: "v2.a.b.c.d" }],
  ])("counts %s as failed", async (_name, change) => {
    const [one, other] = [await aWorld(), await aWorld()];
    const copied = (await accountOf(other))?.apiKey;
    const id = new ObjectId(one.subaccountId);
    await accounts.updateOne({ subaccountId: id }, { $set: { apiKey: copied, ...change } });
    expect(lastLine(await rotate())).toBe("1 rotated, 0 pending, 0 current, 1 failed");
  });

  it("prints no key and no ciphertext, whatever happens", async () => {
    const world = await anOldWorld();
    const before = await accountOf(world);
    const broken = await aWorld();
    await accounts.updateOne({ subaccountId: new ObjectId(broken.subaccountId) }, { $set: { apiKey: "v2.secret" } });
    const { stdout, stderr } = await rotate();
    const after = (await accountOf(world))?.apiKey;
    const ciphertexts = [before?.apiKey, after, ...(before?.webhookKeys ?? []), "v2."];
    const secrets = [world.apiKey, "hook_", oldKey, newKey, process.env.MONGODB_URL, ...ciphertexts];
    for (const secret of secrets) expect(stdout + stderr).not.toContain(secret);
  });

  it("makes Redis forget the accounts; the API goes on with the new ones", async () => {
    const world = await anOldWorld();
    const place = key("retell", world.subaccountId);
    await redis.set(place, "something older", 300);
    await rotate();
    expect(await redis.get(place)).toBeNull();

    // An instance that knows both keys, as it is deployed before a rotation.
    const instance = await anInstance(rotated);
    const { status, body } = await instance.call("create", {
      token: world.owner.token,
      subaccountId: world.subaccountId,
      body: { agentId: world.agentId },
    });
    expect(status).toBe(200);
    expect((await control("retell", "GET", `/chats/${body.data.chat_id}`)).key).toBe(world.apiKey);
    await instance.close();
  });

  it("leaves an account alone that has changed since it was read: exit code 1", async () => {
    await aWorld();
    await aWorld();
    const asRead = (await accounts.find().toArray()).map(({ apiKey }) => apiKey);
    // It tells Redis of the first before it writes the second: time for somebody else to write that one.
    const between = createServer(async (_request, response) => {
      await accounts.updateMany({ apiKey: { $in: asRead } }, { $set: { apiKey: "written meanwhile" } });
      response.setHeader("content-type", "application/json").end('[{"result":1}]');
    });
    between.listen(0, "127.0.0.1");
    await once(between, "listening");
    const { port } = between.address() as AddressInfo;
    const ended = await rotate(["--old-server-gone"], {
      ...rotated,
      UPSTASH_REDIS_REST_URL: `http://127.0.0.1:${port}`,
    });
    between.close();
    expect([ended.code, lastLine(ended)]).toEqual([1, "1 rotated, 0 pending, 0 current, 1 failed"]);
    expect(ended.stderr).toContain("changed meanwhile");
    expect(await accounts.countDocuments({ apiKey: "written meanwhile" })).toBe(1);
  });

  it("goes on when Redis is away, and says for how long the old key is still needed", async () => {
    await anOldWorld();
    const ended = await rotate(["--old-server-gone"], { ...rotated, UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9" });
    expect([ended.code, lastLine(ended)]).toEqual([0, "2 rotated, 0 pending, 0 current, 0 failed"]);
    expect(ended.stderr).toContain("five more minutes");
  });
});
