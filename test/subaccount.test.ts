import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { type Document, ObjectId } from "mongodb";
import { sign } from "retell-sdk/lib/webhook_auth";
import { describe, expect, it } from "vitest";
import { decrypt } from "../lib/platform/crypto.ts";
import { missingIndexes } from "../lib/platform/indexes.ts";
import { hide } from "./support/canaries.ts";
import { at, send } from "./support/chats.ts";
import { requests } from "./support/sweeps.ts";
import { type Ended, tool } from "./support/tool.ts";
import { aChat, aUser, aWorld, call, central, control, type World } from "./support/world.ts";

let number = 0;
/** A key that no other test uses. */
function aKey(): string {
  const key = `key_${crypto.randomUUID()}${++number}`;
  hide({ content: key });
  return key;
}

const accountOf = (subaccountId: string): Promise<Document | null> =>
  central.collection("retellaccounts").findOne({ subaccountId: new ObjectId(subaccountId) });
const subaccounts = central.collection<Document>("subaccounts");
const refuseKey = (key: string, status = 401) =>
  control("retell", "POST", "/faults", { step: "list", key, kind: "status", status, count: 1 });

/** What a new tenant is given. */
async function aNewTenant() {
  const databaseName = `new_${new ObjectId().toHexString()}`;
  const [owner, viewer] = [await aUser(), await aUser()];
  const key = aKey();
  const args = ["--name", `Acme ${databaseName}`, "--database", databaseName, "--agents", "agent_shop, agent_b"];
  args.push("--members", `${owner.id}:owner,${viewer.id}:viewer`);
  const add = (more: string[] = [], env: NodeJS.ProcessEnv = {}) =>
    tool("subaccount add", [...args, ...more, "--yes"], { SUBACCOUNT_RETELL_KEY: key, ...env });
  return { databaseName, owner, viewer, key, args, add, db: central.client.db(databaseName) };
}

const idIn = ({ stdout }: Ended) => /^([0-9a-f]{24}): added$/m.exec(stdout)?.[1] ?? "";

describe("npm run ops -- subaccount add", () => {
  it("makes a tenant that works at once, in a database of its own, with its members", async () => {
    const { add, owner, viewer, key, db } = await aNewTenant();
    const ended = await add();
    expect(ended).toMatchObject({ code: 0, stdout: expect.not.stringContaining("WRONG") });
    const subaccountId = idIn(ended);
    expect(await missingIndexes(db, "tenant")).toEqual([]);
    const { apiKey: text } = (await accountOf(subaccountId)) ?? {};
    expect(await decrypt({ text }, subaccountId, "retell-salt")).toBe(key);

    const create = { token: owner.token, subaccountId, body: { agentId: "agent_shop" } };
    expect((await call("create", create)).status).toBe(200);
    expect(await db.collection("chats").countDocuments({ subaccountId })).toBe(1);
    expect((await call("create", { ...create, token: viewer.token })).status).toBe(403);
    expect((await call("list", { token: viewer.token, subaccountId })).status).toBe(200);
  });

  it("may be repeated: what is there stays, what is missing is added", async () => {
    const { add, owner } = await aNewTenant();
    const subaccountId = idIn(await add());
    await central.collection("usersubaccounts").deleteOne({ userId: new ObjectId(owner.id) });
    const { stdout, code } = await add();
    expect([code, stdout]).toEqual([0, expect.stringContaining(`${subaccountId}: is complete`)]);
    expect((await call("list", { token: owner.token, subaccountId })).status).toBe(200);
    expect(await accountOf(subaccountId)).not.toBeNull();
  });

  it("writes nothing in a dry run, nor when Retell refuses a key", async () => {
    const { add, databaseName, key } = await aNewTenant();
    const counts = async () =>
      Promise.all(
        ["subaccounts", "retellaccounts", "usersubaccounts"].map((name) => central.collection(name).countDocuments()),
      );
    const before = await counts();
    expect((await add(["--dry-run"])).stdout).toMatch(/would be added$/m);
    await refuseKey(key);
    expect(await add()).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/SUBACCOUNT_RETELL_KEY: Retell answers 401/),
    });
    const webhookKey = aKey();
    await refuseKey(webhookKey);
    expect(await add([], { SUBACCOUNT_WEBHOOK_KEY: webhookKey })).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/SUBACCOUNT_WEBHOOK_KEY: Retell answers 401/),
    });
    expect(await add([], { SUBACCOUNT_RETELL_KEY: " " })).toMatchObject({ code: 1 });
    expect(await counts()).toEqual(before);
    const names = (await central.client.db("admin").admin().listDatabases()).databases.map(({ name }) => name);
    expect(names).not.toContain(databaseName);
  });

  it("gives no two subaccounts one database, and does not change a key or a database", async () => {
    const { add, databaseName } = await aNewTenant();
    const subaccountId = idIn(await add());
    const other = await aNewTenant();
    const refused = async (args: string[], env: NodeJS.ProcessEnv, reason: RegExp) =>
      expect(await other.add(args, env)).toMatchObject({ code: 1, stderr: expect.stringMatching(reason) });
    await refused(["--database", databaseName], {}, new RegExp(`is that of ${subaccountId}`));
    await refused(["--database", central.databaseName], {}, /is the central database/);
    await refused(["--subaccount", subaccountId], {}, /subaccount move changes that/);
    expect(await add([], { SUBACCOUNT_RETELL_KEY: aKey() })).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("subaccount rekey changes that"),
    });
    await refused(["--members", "me:owner"], {}, /--members must be USER:ROLE/);
  });

  it("reads secrets from its input with --stdin, and names no line of it", async () => {
    const { args, key, databaseName } = await aNewTenant();
    const path = fileURLToPath(new URL("../ops/main.ts", import.meta.url));
    const run = (input: string) =>
      spawnSync(process.execPath, [path, "subaccount", "add", ...args, "--stdin", "--yes"], {
        input,
        encoding: "utf8",
      });
    expect(run(`oops=${key}`)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/\nline 1 of the input is not NAME=value, with a NAME of SUBACCOUNT_RETELL_KEY/),
    });
    const url = process.env.MONGODB_URL ?? "";
    const { status, stderr } = run(`SUBACCOUNT_RETELL_KEY=${key}\nSUBACCOUNT_MONGODB_URL=${url}\n`);
    expect([status, stderr]).toEqual([0, expect.not.stringContaining(key)]);
    const { _id, mongodbUrl: text } = (await subaccounts.findOne<Document>({ databaseName })) ?? {};
    expect(await decrypt({ text }, String(_id), "subaccount-salt")).toBe(url);
  });
});

describe("npm run ops -- subaccount rekey", () => {
  const rekey = ({ subaccountId }: World, args: string[], env: NodeJS.ProcessEnv = {}) =>
    tool("subaccount rekey", ["--subaccount", subaccountId, ...args, "--yes"], env);

  async function isTaken(world: World, key: string): Promise<boolean> {
    const body = JSON.stringify({ event: "chat_started", chat: { chat_id: "chat_x" } });
    const headers = { "x-retell-signature": await sign(body, key) };
    return (await call("webhook", { ...at(world, ""), body, headers })).status === 200;
  }

  it("replaces the key, and webhooks of the old one are taken until --only", async () => {
    const world = await aWorld();
    const [newKey, badge] = [aKey(), aKey()];
    expect(await rekey(world, [], { SUBACCOUNT_RETELL_KEY: newKey })).toMatchObject({ code: 0 });
    const { apiKey: text } = (await accountOf(world.subaccountId)) ?? {};
    expect(await decrypt({ text }, world.subaccountId, "retell-salt")).toBe(newKey);
    expect([await isTaken(world, newKey), await isTaken(world, world.apiKey)]).toEqual([true, true]);
    expect(await rekey(world, ["--only"], { SUBACCOUNT_WEBHOOK_KEY: badge })).toMatchObject({ code: 0 });
    expect((await accountOf(world.subaccountId))?.webhookKeys).toHaveLength(1);
    expect(await rekey(world, ["--only"])).toMatchObject({ code: 0 });
    expect((await accountOf(world.subaccountId))?.webhookKeys).toBeUndefined();
    expect(await requests({ ...world, apiKey: newKey }, "list")).not.toHaveLength(0);
  });

  it("leaves an API key that an old server reads in its form, unless the new one may be in ours", async () => {
    const world = await aWorld();
    const { subaccountId } = world;
    const [oldForm, newKey] = [aKey(), aKey()];
    expect(await rekey(world, ["--for-old-server"], { SUBACCOUNT_RETELL_KEY: oldForm })).toMatchObject({ code: 0 });
    const { apiKey, encryptionIV, encryptionAuthTag } = (await accountOf(subaccountId)) ?? {};
    expect(await rekey(world, [], { SUBACCOUNT_WEBHOOK_KEY: aKey() })).toMatchObject({ code: 0 });
    expect(await rekey(world, ["--only"])).toMatchObject({ code: 0 });
    const refused = await rekey(world, [], { SUBACCOUNT_RETELL_KEY: newKey });
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/--for-old-server, or --old-server-gone/) });
    expect(await accountOf(subaccountId)).toMatchObject({ apiKey, encryptionIV, encryptionAuthTag });
    expect(await rekey(world, ["--old-server-gone"], { SUBACCOUNT_RETELL_KEY: newKey })).toMatchObject({ code: 0 });
    const { apiKey: text, encryptionIV: iv } = (await accountOf(subaccountId)) ?? {};
    expect([iv, await decrypt({ text }, subaccountId, "retell-salt")]).toEqual([undefined, newKey]);
  });

  it("takes no key that Retell refuses, nor one of another workspace", async () => {
    const world = await aWorld();
    await aChat(world);
    const before = await accountOf(world.subaccountId);
    const bad = aKey();
    await refuseKey(bad, 403);
    const refused = async (args: string[], env: NodeJS.ProcessEnv, reason: RegExp) => {
      expect(await rekey(world, args, env)).toMatchObject({ code: 1, stderr: expect.stringMatching(reason) });
      expect(await accountOf(world.subaccountId)).toEqual(before);
    };
    await refused([], { SUBACCOUNT_RETELL_KEY: bad }, /Retell answers 403/);
    await refused([], { SUBACCOUNT_RETELL_KEY: aKey() }, /it is another workspace's/);
    await refused([], {}, /must be set, or given with --stdin/);
    expect(await rekey(world, ["--other-workspace"], { SUBACCOUNT_RETELL_KEY: aKey() })).toMatchObject({ code: 0 });
  });

  it("repairs an account whose key cannot be decrypted", async () => {
    const world = await aWorld({ account: { apiKey: "v2.00000000.AAAA.AAAA.AAAA" } });
    expect(await rekey(world, [])).toMatchObject({ code: 1 });
    expect(await rekey(world, [], { SUBACCOUNT_RETELL_KEY: world.apiKey })).toMatchObject({ code: 0 });
    const chatId = await aChat(world);
    expect((await send(world, chatId)).status).toBe(200);
  });
});

describe("npm run ops -- subaccount", () => {
  it("disable refuses requests at once, and enable takes them again", async () => {
    const world = await aWorld();
    const list = async () => (await call("list", at(world, ""))).status;
    const change = (command: string) => tool(command, ["--subaccount", world.subaccountId, "--yes"]);
    expect(await list()).toBe(200);
    expect((await change("subaccount disable")).stdout).toContain("is inactive: its requests get 403");
    expect(await list()).toBe(403);
    expect((await change("subaccount enable")).stdout).toContain("is active");
    expect(await list()).toBe(200);
    expect(await tool("subaccount enable", ["--subaccount", "f".repeat(24), "--yes"])).toMatchObject({ code: 1 });
  });

  it("list shows where each is, and no secret", async () => {
    const world = await aWorld({ subaccount: { name: "Acme\u001b[31m" } });
    await tool("pause", ["--subaccount", world.subaccountId, "--yes"]);
    const { stdout } = await tool("subaccount list");
    expect(stdout).toMatch(
      new RegExp(`^${world.subaccountId}  Acme\\S+ +active, paused +central/t_${world.subaccountId} +active$`, "m"),
    );
    const rows = JSON.parse((await tool("subaccount list", ["--json"])).stdout);
    expect(rows).toContainEqual(expect.objectContaining({ subaccountId: world.subaccountId, state: "active, paused" }));
  });
});
