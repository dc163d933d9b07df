import { describe, expect, it } from "vitest";
import { tool } from "./support/tool.ts";
import { aChat, aWorld, call, type World } from "./support/world.ts";

const at = ({ owner, subaccountId }: World, chatId = "") => ({ token: owner.token, subaccountId, chatId });
const isCached = async (world: World, name: "list" | "transcript", chatId?: string) =>
  (await call(name, at(world, chatId))).body.meta.cached;

/** A tenant with two ended chats, all of which is cached. */
async function cached() {
  const world = await aWorld();
  const chats = [await aChat(world), await aChat(world)] as const;
  for (const chatId of chats) {
    await call("end", at(world, chatId));
    await isCached(world, "transcript", chatId);
  }
  await isCached(world, "list");
  return { world, chats };
}

describe("npm run ops -- forget cache", () => {
  it("forgets a subaccount's list and transcripts, and no other's", async () => {
    const [{ world, chats }, other] = [await cached(), await cached()];
    expect(await tool("forget cache", ["--subaccount", world.subaccountId.toUpperCase(), "--yes"])).toEqual({
      code: 0,
      stdout: `${world.subaccountId}: dropped the list and 2 transcripts\n`,
      stderr: expect.stringMatching(/^Stage test: .+\n$/),
    });
    for (const chatId of chats) expect(await isCached(world, "transcript", chatId)).toBe(false);
    expect(await isCached(world, "list")).toBe(false);
    expect(await isCached(other.world, "list")).toBe(true);
    expect(await isCached(other.world, "transcript", other.chats[0])).toBe(true);
  });

  it("forgets one transcript alone", async () => {
    const { world, chats } = await cached();
    const ended = await tool("forget cache", ["--subaccount", world.subaccountId, "--chat", chats[0], "--yes"]);
    expect(ended).toMatchObject({ code: 0, stdout: `${world.subaccountId}: dropped 1 transcript\n` });
    expect(await isCached(world, "transcript", chats[0])).toBe(false);
    expect(await isCached(world, "transcript", chats[1])).toBe(true);
    expect(await isCached(world, "list")).toBe(true);
  });

  it("says so when it could not: exit code 1", async () => {
    const { subaccountId } = await aWorld();
    const away = { UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9" };
    for (const args of [
      ["--subaccount", subaccountId, "--yes"],
      ["--subaccount", subaccountId, "--chat", "chat_1", "--yes"],
    ]) {
      const ended = await tool("forget cache", args, away);
      expect([ended.code, ended.stdout]).toEqual([1, ""]);
      expect(ended.stderr).not.toContain(process.env.UPSTASH_REDIS_REST_TOKEN);
    }
    expect(await tool("forget cache", [])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("--subaccount ID is missing"),
    });
  });
});
