import "./support/own-retell.ts";
import { type Document, ObjectId } from "mongodb";
import { sign } from "retell-sdk/lib/webhook_auth";
import { beforeEach, describe, expect, it } from "vitest";
import { handler as sweep } from "../functions/sweep.ts";
import { at, atRetell, heard, read, send, stored } from "./support/chats.ts";
import { anOrphan } from "./support/orphan.ts";
import { requests, runIn } from "./support/sweeps.ts";
import { tool } from "./support/tool.ts";
import { aChat, aWorld, call, central, control, type World } from "./support/world.ts";

// Runs go over all subaccounts.
beforeEach(async () => {
  await central.collection("subaccounts").deleteMany({});
});

const documentOf = ({ subaccountId }: World) =>
  central.collection("subaccounts").findOne({ _id: new ObjectId(subaccountId) });
const ops = async (command: string, ...args: string[]) => {
  const ended = await tool(command, [...args, "--yes"]);
  expect([ended.code, ended.stderr.split("\n").length]).toEqual([0, 2]);
  return ended.stdout;
};
const of = ({ subaccountId }: World) => ["--subaccount", subaccountId];

async function deliver(world: World, event: string, chat: object) {
  const body = JSON.stringify({ event, chat });
  const headers = { "x-retell-signature": await sign(body, world.apiKey) };
  const { status, body: answer, headers: answered } = await call("webhook", { ...at(world, ""), body, headers });
  return [status, answer.code, answered["retry-after"]];
}

const due = (world: World, chatId: string) =>
  world.db.collection("chats").updateOne({ chat_id: chatId }, { $set: { "internal.nextSweepAt": new Date(1) } });

describe("a paused subaccount", () => {
  it("is skipped by the sweep, its webhooks are 503, and its requests go on", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await anOrphan(world);
    await ops("pause", ...of(world));
    await due(world, chatId);
    expect(await sweep()).toMatchObject({ subaccounts: 0, paused: 1, orphansEnded: 0 });
    expect(await requests(world, "list")).toEqual([]);
    const ended = { chat_id: chatId, chat_status: "ended" };
    expect(await deliver(world, "chat_ended", ended)).toEqual([503, "SUBACCOUNT_PAUSED", "60"]);
    expect((await send(world, chatId)).status).toBe(200);
    await due(world, chatId);
    expect(await ops("resume", ...of(world))).toContain("resumed; 0 ongoing chats read by the sweep");
    expect(await sweep()).toMatchObject({ subaccounts: 1, paused: 0, orphansEnded: 1 });
    expect(await deliver(world, "chat_ended", ended)).toEqual([200, undefined, undefined]);
  });

  it("is told what it missed by the sweep after the pause: it reads every ongoing chat", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await ops("pause", ...of(world));
    await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
    expect(await ops("resume", ...of(world))).toContain("1 ongoing chats read");
    expect(await sweep()).toMatchObject({ settled: 1 });
    expect(await stored(world, chatId)).toMatchObject({ chat_status: "ended" });
  });

  it("refuses every request at once with --requests, a super admin's too", async () => {
    const world = await aWorld();
    const chatId = await aChat(world);
    await ops("pause", ...of(world), "--requests");
    for (const { token } of [world.owner, world.superAdmin]) {
      for (const name of ["create", "message", "end", "list", "transcript"] as const) {
        const bodies = { create: { agentId: world.agentId }, message: { content: "ping" } };
        const body = bodies[name as keyof typeof bodies];
        const answer = await call(name, { ...at(world, chatId), token, ...(body ? { body } : {}) });
        expect([name, answer.status, answer.body.code]).toEqual([name, 503, "SUBACCOUNT_PAUSED"]);
        expect(answer.headers["retry-after"]).toBe("5");
      }
    }
    expect((await call("list", { ...at(world, ""), token: world.stranger.token })).status).toBe(403);
    await ops("resume", ...of(world));
    expect((await send(world, chatId)).status).toBe(200);
  });

  it("stays paused when the stage is resumed, if it was paused by itself", async () => {
    const [own, other] = [await aWorld(), await aWorld()];
    await ops("pause", ...of(own), "--requests");
    expect(await ops("pause", "--all")).toBe("paused sweep and webhooks of 1, 1 were paused before\n");
    expect(await ops("pause", "--all")).toBe("paused sweep and webhooks of 0, 2 were paused before\n");
    expect(await ops("resume", "--all")).toContain(`${own.subaccountId}: was paused by itself, and stays so`);
    expect(await documentOf(own)).toMatchObject({ chatPause: { at: expect.any(Date), requests: true } });
    expect((await documentOf(other))?.chatPause).toBeUndefined();
  });

  it("is one whose pause cannot be read", async () => {
    const world = await aWorld({ subaccount: { chatPause: "yes" } });
    expect((await call("list", at(world, ""))).body.code).toBe("SUBACCOUNT_PAUSED");
  });

  it("needs to be named, or all", async () => {
    for (const command of ["pause", "resume"]) {
      for (const args of [[], ["--all", "--subaccount", "5ca1ab1e00000000000000ff"]]) {
        expect(await tool(command, args)).toMatchObject({
          code: 1,
          stderr: expect.stringMatching(/either --subaccount ID or --all/),
        });
      }
    }
  });
});

describe("a database that was restored", () => {
  const wipe = async (world: World, chatIds: string[]) =>
    world.db.collection("chats").deleteMany({ chat_id: { $in: chatIds } });

  it("does not let the sweep end what began after the restore point, even without a pause", async () => {
    await control("retell", "PUT", "/agents/agent_patient", { end_chat_after_silence_ms: null });
    const world = await aWorld({ agentId: "agent_patient" });
    await sweep();
    const backup = await world.db.collection("chatsdatabase").findOne({});
    const chatId = await aChat(world);
    await runIn(0.5); // another search leaves its mark
    await wipe(world, [chatId]);
    await world.db.collection("chatsdatabase").replaceOne({}, backup ?? {});
    for (const hours of [1, 2, 12, 48]) expect(await runIn(hours)).toMatchObject({ orphansEnded: 0 });
    expect((await atRetell(world)).map(({ status }) => status)).toEqual(["ongoing"]);
  });

  it("is recognized by each of the subaccounts that share it", async () => {
    await control("retell", "PUT", "/agents/agent_patient", { end_chat_after_silence_ms: null });
    const databaseName = `shared_${new ObjectId().toHexString()}`;
    const shared = central.client.db(databaseName);
    const worlds = [];
    for (let i = 0; i < 2; i++) {
      const world = await aWorld({ agentId: "agent_patient", subaccount: { databaseName } });
      await shared.collection("chatagents").insertOne({ agentId: world.agentId, subaccountId: world.subaccountId });
      worlds.push(world);
    }
    await sweep();
    const backup = await shared.collection("chatsdatabase").findOne({});
    for (const world of worlds) await aChat(world);
    await runIn(0.5);
    await shared.collection("chats").deleteMany({});
    await shared.collection("chatsdatabase").replaceOne({}, backup ?? {});
    for (const hours of [1, 2, 12, 48]) expect(await runIn(hours)).toMatchObject({ orphansEnded: 0 });
    for (const world of worlds) expect((await atRetell(world)).map(({ status }) => status)).toEqual(["ongoing"]);
  });

  it("is recognized too when the central database was restored together with it", async () => {
    await control("retell", "PUT", "/agents/agent_patient", { end_chat_after_silence_ms: null });
    const world = await aWorld({ agentId: "agent_patient" });
    await central.collection("chatsweeps").deleteMany({}); // other tests have left times that lie ahead
    await sweep();
    const all = [central.collection<Document>("chatsweeps"), world.db.collection<Document>("chatsdatabase")];
    const backup = await Promise.all(all.map((one) => one.find().toArray()));
    const chatId = await aChat(world);
    await runIn(0.5);
    await wipe(world, [chatId]);
    for (const [i, one] of all.entries()) {
      await one.deleteMany({});
      await one.insertMany(backup[i] ?? []);
    }
    for (const hours of [1, 2, 12, 48]) expect(await runIn(hours)).toMatchObject({ orphansEnded: 0 });
    expect((await atRetell(world)).map(({ status }) => status)).toEqual(["ongoing"]);
    const orphan = await anOrphan(world, -50 * 3_600_000);
    expect(await runIn(51)).toMatchObject({ orphansEnded: 1 });
    expect((await control("retell", "GET", `/chats/${orphan}`)).status).toBe("ended");
  });

  it("gets its chats back from Retell with --restored-to, with all that was said, and their keys", async () => {
    const world = await aWorld();
    const since = new Date(Date.now() - 1_000).toISOString();
    const request = {
      ...at(world, ""),
      headers: { "idempotency-key": "of-the-gap" },
      body: { agentId: world.agentId, metadata: { order: 7 }, retell_llm_dynamic_variables: { name: "Ana" } },
    };
    const kept = (await call("create", request)).body.data.chat_id;
    const [ended, elsewhere] = [await aChat(world), await aChat(await aWorld())];
    for (const chatId of [kept, ended]) await send(world, chatId, "my order");
    await call("end", at(world, ended));
    const before = { kept: (await read(world, kept)).body.data, ended: (await read(world, ended)).body.data };
    await wipe(world, [kept, ended]);
    await world.db.collection("chatrequests").deleteMany({});

    await ops("pause", ...of(world));
    const dry = await tool("resume", [...of(world), "--restored-to", since, "--dry-run"]);
    expect(dry.stdout).toContain("2 chats of Retell would be stored");
    expect(await stored(world, kept)).toBeNull();
    expect(await ops("resume", ...of(world), "--restored-to", since)).toContain("2 chats of Retell stored");
    expect(await ops("resume", ...of(world), "--restored-to", since)).toContain("0 chats of Retell stored");

    const said = ({ messages }: { messages: { seq: number; role: string; content: string }[] }) =>
      messages.map(({ seq, role, content }) => ({ seq, role, content }));
    for (const [chatId, was] of [[kept, before.kept] as const, [ended, before.ended] as const]) {
      const { body } = await read(world, chatId);
      expect(said(body.data)).toEqual(said(was));
      const { chat_status, metadata, retell_llm_dynamic_variables, transcript, message_count } = was;
      const same = { chat_status, metadata, retell_llm_dynamic_variables, transcript, message_count };
      expect(body.data).toMatchObject(same);
    }
    expect(await stored(world, elsewhere)).toBeNull();
    const again = await call("create", request);
    expect([again.body.data.chat_id, again.headers["idempotent-replayed"]]).toEqual([kept, "true"]);
    expect((await send(world, kept, "go on")).status).toBe(200);
    expect(await heard(kept)).toEqual(["my order", "go on"]);
    expect(await sweep()).toMatchObject({ orphansEnded: 0, failed: 0 });
  });
});
