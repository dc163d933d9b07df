import { ObjectId } from "mongodb";
import { forgetUser } from "../../lib/access/membership.ts";
import { config } from "../../lib/platform/config.ts";
import { encrypt } from "../../lib/platform/crypto.ts";
import { ensureIndexes } from "../../lib/platform/indexes.ts";
import { bounded, central } from "../../lib/platform/mongo.ts";
import { defineCommand, writeFlags } from "../command.ts";
import { database } from "../doctor/mongo.ts";
import { account as checkAccount } from "../doctor/retell.ts";
import { reachable } from "../failure.ts";
import { Api } from "../smoke/api.ts";
import { smoke } from "../smoke.ts";
import { table } from "../table.ts";
import { stageTarget } from "../target.ts";
import { subaccountsOf } from "../tenants.ts";
import { forgetOrSay, subaccountDocuments } from "./change.ts";
import { isDatabaseName, openPlace, type Place } from "./place.ts";
import { accountDocument, accountDocuments, checkAtRetell, keysOf } from "./retell-account.ts";
import { readSecrets, seal, secretFlags, storing } from "./secrets.ts";

/** What a role may do, as the old server sets the flags. */
const roles = {
  viewer: { read: true, write: false, delete: false, admin: false },
  editor: { read: true, write: true, delete: false, admin: false },
  admin: { read: true, write: true, delete: true, admin: true },
  owner: { read: true, write: true, delete: true, admin: true },
};
type Role = keyof typeof roles;

interface Member {
  userId: string;
  role: Role;
}

interface Addition {
  id: ObjectId;
  isNew: boolean;
  name: string;
  databaseName: string;
  agents: string[];
  members: Member[];
  retellKey: string;
  webhookKey: string | undefined;
  url: string | undefined;
  forOldServer: boolean;
}

export const command = defineCommand({
  details: `SUBACCOUNT_RETELL_KEY is its API key of Retell; SUBACCOUNT_WEBHOOK_KEY the key that signs webhooks, if that is another one; SUBACCOUNT_MONGODB_URL its cluster, if that is not the central one. All are checked before anything is written.
The subaccount itself is written last. If it is interrupted, repeat it: it is found by name and database.`,
  flags: {
    name: { type: "text", description: "its name", required: true },
    database: { type: "text", description: "the name of its database, which no other subaccount has", required: true },
    agents: { type: "text", description: "ids of its chat agents at Retell, comma-separated", required: true },
    members: { type: "text", description: "USER:ROLE, comma-separated; a role is viewer, editor, admin or owner" },
    subaccount: { type: "id", description: "its id (default: a new one)" },
    url: { type: "url", description: "where the stage is: run the smoke test at the end, with SMOKE_TOKEN" },
    ...secretFlags,
    ...writeFlags,
  },
  refuse: ({ database, members, url }) => {
    if (!isDatabaseName(database)) return "--database may have letters, digits, _ and -, 63 at most";
    if (!membersOf(members)) return "--members must be USER:ROLE, with 24 hex digits and a role";
    return url && !process.env.SMOKE_TOKEN ? "SMOKE_TOKEN is needed for --url" : undefined;
  },
  target: stageTarget,
  async run({ stdin, url: stageUrl, "dry-run": isDryRun, ...values }) {
    const given = await readSecrets(stdin);
    const { SUBACCOUNT_RETELL_KEY: retellKey, SUBACCOUNT_WEBHOOK_KEY: webhookKey, SUBACCOUNT_MONGODB_URL: url } = given;
    if (!retellKey) throw new Error("SUBACCOUNT_RETELL_KEY must be set, or given with --stdin");
    await reachable(central());
    const { name, database: databaseName } = values;
    const found = await idOf(name, databaseName, values.subaccount);
    const agents = listOf(values.agents);
    const members = membersOf(values.members) ?? [];
    const forOldServer = values["for-old-server"];
    const addition: Addition = {
      ...found,
      name,
      databaseName,
      agents,
      members,
      retellKey,
      webhookKey,
      url,
      forOldServer,
    };
    await using place = await openPlace(
      url ?? config().MONGODB_URL,
      databaseName,
      url ? "SUBACCOUNT_MONGODB_URL" : "MONGODB_URL",
    );
    await check(addition);
    const id = addition.id.toHexString();
    console.log(`${id}: ${place.name}, ${agents.length} agents, ${members.length} members; Retell accepts its key`);
    if (isDryRun) return console.log(`would be ${addition.isNew ? "added" : "completed"}`);
    await write(addition, place);
    return await tryOut(id, agents[0], stageUrl);
  },
});

/** The id of a subaccount with this name and database, or a new one. */
async function idOf(name: string, databaseName: string, wanted: string | undefined) {
  const known = await (await subaccountDocuments()).findOne(
    wanted ? { _id: new ObjectId(wanted) } : { name, databaseName },
    { projection: { databaseName: 1 } },
  );
  if (known && known.databaseName !== databaseName) {
    throw new Error("It is there, in another database: npm run ops -- subaccount move changes that");
  }
  return { id: known?._id ?? new ObjectId(wanted), isNew: !known };
}

async function check({ id, databaseName, retellKey, webhookKey, url }: Addition): Promise<void> {
  const other = await (await subaccountDocuments()).findOne(
    { databaseName, _id: { $ne: id } },
    { projection: { _id: 1 } },
  );
  if (other) throw new Error(`The database ${databaseName} is that of ${other._id.toHexString()}`);
  if (!url && (await central()).databaseName === databaseName)
    throw new Error(`${databaseName} is the central database`);
  await checkAtRetell({ SUBACCOUNT_RETELL_KEY: retellKey, SUBACCOUNT_WEBHOOK_KEY: webhookKey });
  const account = await accountDocument(id);
  if (account && (await keysOf(account)).apiKey !== retellKey) {
    throw new Error("Its Retell account has another key: npm run ops -- subaccount rekey changes that");
  }
}

/** Each write may be repeated. Until the last one the subaccount does not exist. */
async function write(addition: Addition, { db }: Place): Promise<void> {
  const { id, name, databaseName, agents, members, retellKey, webhookKey, url, forOldServer } = addition;
  const subaccountId = id.toHexString();
  const now = { createdAt: new Date(), updatedAt: new Date() };
  const upsert = { upsert: true };
  await ensureIndexes(await central(), "central");
  await ensureIndexes(db, "tenant");
  for (const agentId of agents) {
    const agent = { agentId, subaccountId };
    await db.collection("chatagents").updateOne(agent, { $setOnInsert: now }, upsert);
  }
  const { $set: key } = storing("apiKey", await seal(retellKey, subaccountId, "retell-salt", forOldServer));
  const webhookKeys = webhookKey ? { webhookKeys: [await encrypt(webhookKey, subaccountId)] } : {};
  const account = { accountName: name, isActive: true, ...key, ...webhookKeys, ...now };
  await bounded((await accountDocuments()).updateOne({ subaccountId: id }, { $setOnInsert: account }, upsert));
  for (const { userId, role } of members) {
    const membership = { userId: new ObjectId(userId), subaccountId: id };
    const $set = { role, permissions: roles[role], isActive: true };
    const $setOnInsert = { temporaryAccess: { enabled: false }, ...now };
    await bounded(
      (await central()).collection("usersubaccounts").updateOne(membership, { $set, $setOnInsert }, upsert),
    );
    await forgetUser(userId).catch(() => console.error(`Redis did not answer: ${userId} may enter within a minute`));
  }
  const located = url ? storing("mongodbUrl", await seal(url, subaccountId, "subaccount-salt", forOldServer)).$set : {};
  const document = { name, databaseName, ...located, isActive: true, maintenanceMode: false, ...now };
  await bounded((await subaccountDocuments()).updateOne({ _id: id }, { $setOnInsert: document }, upsert));
  await forgetOrSay(subaccountId);
  console.log(`${subaccountId}: ${addition.isNew ? "added" : "is complete"}`);
}

/** The doctor's checks of it, and the smoke test if there is an address. */
async function tryOut(id: string, agentId: string | undefined, url: string | undefined): Promise<boolean> {
  const [subaccount] = await subaccountsOf(id);
  if (!subaccount) throw new Error("It was deleted meanwhile");
  const findings = [...(await database(subaccount)), ...(await checkAccount(id))];
  console.log(table(findings.map(({ what, isOk, detail, fix }) => [isOk ? "ok" : "WRONG", what, detail, fix])));
  const isWell = findings.every(({ isOk }) => isOk);
  const { SMOKE_TOKEN: token = "" } = process.env;
  if (!url) {
    console.log(`Try it: SMOKE_TOKEN=… npm run ops -- smoke --url URL --subaccount ${id} --agent ${agentId}`);
    return isWell;
  }
  const timeUp = AbortSignal.timeout(60_000);
  return (await smoke(new Api({ url, token, subaccountId: id, agentId, origin: undefined, timeUp }))) && isWell;
}

const listOf = (text: string) =>
  text
    .split(",")
    .map((one) => one.trim())
    .filter(Boolean);

/** Undefined if the text is no list of members. */
function membersOf(text = ""): Member[] | undefined {
  const members = listOf(text).map((one) => /^([0-9a-f]{24}):(viewer|editor|admin|owner)$/i.exec(one));
  if (members.includes(null)) return undefined;
  return members.map((match) => ({
    userId: String(match?.[1]).toLowerCase(),
    role: String(match?.[2]).toLowerCase() as Role,
  }));
}
