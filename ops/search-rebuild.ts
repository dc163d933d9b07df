import type { TenantContext } from "../lib/access/tenant.ts";
import { rebuild } from "../lib/chat/search/mongo-index.ts";
import { rebuildAll } from "../lib/chat/search/rebuild-all.ts";
import * as chats from "../lib/chat/store/chats.ts";
import { central } from "../lib/platform/mongo.ts";
import { defineCommand } from "./command.ts";
import { reachable } from "./failure.ts";
import { stageTarget } from "./target.ts";
import { subaccountsOf, withTenant } from "./tenants.ts";

const progressMs = 5_000;

export const command = defineCommand({
  details:
    "Indexes every chat anew, and removes what is indexed of chats that are gone. Requests go on meanwhile; it may be interrupted and repeated. It is needed once for the chats that were there before the search, and after a change of how words are cut.",
  flags: {
    subaccount: { type: "id", description: "the subaccount", required: true },
    chat: { type: "text", description: "this chat only" },
  },
  target: stageTarget,
  async run({ subaccount, chat }) {
    await reachable(central());
    const [place] = await subaccountsOf(subaccount);
    if (!place) throw new Error(`There is no subaccount ${subaccount}`);
    console.log(await withTenant(place, "subaccount", (tenant) => (chat ? one(tenant, chat) : all(tenant))));
  },
});

async function one(tenant: TenantContext, chatId: string): Promise<string> {
  const chat = await chats.get(tenant, chatId);
  if (!chat) throw new Error(`There is no chat ${chatId}`);
  await rebuild(tenant, [chat]);
  return `${chatId}: indexed`;
}

async function all(tenant: TenantContext): Promise<string> {
  const startedAt = Date.now();
  let told = startedAt;
  const { chats, removed } = await rebuildAll(tenant, (done) => {
    if (Date.now() - told < progressMs) return;
    told = Date.now();
    console.error(`${done.chats} chats`);
  });
  return `${chats} chats indexed, ${removed} segments of others removed, in ${((Date.now() - startedAt) / 1_000).toFixed(1)} s`;
}
