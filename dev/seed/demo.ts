import { SignJWT } from "jose";
import { type Document, MongoClient, ObjectId } from "mongodb";
import { decrypt, encrypt } from "../../lib/platform/crypto.ts";
import { ensureIndexes } from "../../lib/platform/indexes.ts";

const id = (last: number) => new ObjectId(`5ca1ab1e0000000000${last.toString(16).padStart(6, "0")}`);

const users = { owner: id(1), viewer: id(2), formerMember: id(3), stranger: id(4), superAdmin: id(5) };
const subaccount = id(16);
const retellAccount = id(17);
const database = "demo_support";
const apiKey = "key_demo_of_the_simulator";

/** The demo tenant; its ids never change. */
export const demo = {
  subaccountId: subaccount.toHexString(),
  /** The shop's agent opens the chat itself; the quiet one waits for the user. */
  agentIds: ["agent_demo_shop", "agent_quiet_demo"] as const,
};

/** The demo's users, named after what they may do. */
export type DemoUser = keyof typeof users;
const names = Object.keys(users) as DemoUser[];

const allOf = (allowed: boolean) => ({ read: true, write: allowed, delete: allowed, admin: allowed });

const memberships = [
  { _id: id(32), user: users.owner, role: "owner", flags: allOf(true), access: { enabled: false } },
  { _id: id(33), user: users.viewer, role: "viewer", flags: allOf(false), access: { enabled: false } },
  {
    _id: id(34),
    user: users.formerMember,
    role: "editor",
    flags: { ...allOf(false), write: true },
    access: { enabled: true, expiresAt: new Date("2025-12-31T23:59:59Z"), reason: "audit" },
  },
];

/**
 * Creates the demo tenant and the indexes where they are missing. Existing documents stay as they are, so a document
 * that somebody changed stays changed. Only a Retell key that no configured encryption key decrypts is replaced.
 *
 * The environment must have the settings of `lib/platform/config.ts`, ENCRYPTION_KEY above all. Field names and BSON
 * types are the old server's.
 */
export async function seedDemo(mongodbUrl: string): Promise<void> {
  const client = new MongoClient(mongodbUrl);
  try {
    const central = client.db();
    const own = client.db(database);
    const insert = (collection: string, _id: ObjectId, document: object, db = central) =>
      db.collection(collection).updateOne({ _id }, { $setOnInsert: document }, { upsert: true });

    await Promise.all([ensureIndexes(central, "central"), ensureIndexes(own, "tenant")]);
    await insert("subaccounts", subaccount, aSubaccount());
    for (const { _id, ...membership } of memberships) await insert("usersubaccounts", _id, aMembership(membership));
    for (const [index, agentId] of demo.agentIds.entries()) {
      await insert("chatagents", id(48 + index), anAgent(agentId), own);
    }
    const accounts = central.collection("retellaccounts");
    if (await opens(await accounts.findOne({ _id: retellAccount }))) return;
    const sealed = { apiKey: await encrypt(apiKey, demo.subaccountId) };
    await accounts.updateOne({ _id: retellAccount }, { $set: sealed, $setOnInsert: anAccount() }, { upsert: true });
  } finally {
    await client.close();
  }
}

/** The user id in the tokens of the demo tenant's owner. */
export const ownerId = users.owner.toHexString();

/**
 * A token for each demo user, valid for a day.
 *
 * @param secret Must be used nowhere else: one of the tokens is a super admin's.
 */
export async function demoTokens(secret: string): Promise<Record<DemoUser, string>> {
  const { JWT_ISSUER, JWT_AUDIENCE } = process.env;
  const sign = (user: DemoUser) => {
    const role = user === "superAdmin" ? "super_admin" : "user";
    const token = new SignJWT({ id: users[user].toHexString(), email: `${user.toLowerCase()}@demo.example`, role });
    if (JWT_ISSUER) token.setIssuer(JWT_ISSUER);
    if (JWT_AUDIENCE) token.setAudience(JWT_AUDIENCE);
    token.setProtectedHeader({ alg: "HS256", typ: "JWT" }).setIssuedAt().setExpirationTime("1d");
    return token.sign(new TextEncoder().encode(secret));
  };
  const tokens = await Promise.all(names.map(async (name) => [name, await sign(name)] as const));
  return Object.fromEntries(tokens) as Record<DemoUser, string>;
}

/** The tokens of dev.json when none were made. */
export const noTokens = Object.fromEntries(names.map((name) => [name, ""])) as Record<DemoUser, string>;

async function opens(account: Document | null): Promise<boolean> {
  if (typeof account?.apiKey !== "string") return false;
  return decrypt({ text: account.apiKey, iv: account.encryptionIV }, demo.subaccountId, "retell-salt").then(
    () => true,
    () => false,
  );
}

const born = () => ({ createdAt: new Date(), updatedAt: new Date() });

function aSubaccount(): object {
  return {
    name: "Demo Support",
    description: "",
    databaseName: database,
    isActive: true,
    timezone: "Europe/Madrid",
    maxConnections: 5,
    enforceSchema: true,
    allowedCollections: ["*"],
    createdBy: users.owner,
    retellAccountId: retellAccount,
    activatedConnectors: [],
    stats: { totalQueries: 0, totalUsers: 0, avgResponseTime: 0 },
    rateLimits: { queriesPerMinute: 100, queriesPerHour: 1000, queriesPerDay: 10_000 },
    maintenanceMode: false,
    ...born(),
    __v: 0,
  };
}

function aMembership({ user, role, flags, access }: Omit<(typeof memberships)[number], "_id">): object {
  const queryLimits = { maxDocuments: 1000, maxQueryTime: 30_000, allowAggregation: true, allowTextSearch: true };
  return {
    userId: user,
    subaccountId: subaccount,
    permissions: { ...flags, collections: [], queryLimits },
    role,
    isActive: true,
    acceptedAt: new Date(),
    stats: { totalQueries: 0, totalDocumentsRead: 0, totalDocumentsWritten: 0, avgResponseTime: 0 },
    temporaryAccess: access,
    ...born(),
    __v: 0,
  };
}

function anAccount(): object {
  return {
    accountName: "Demo Retell",
    isActive: true,
    subaccountId: subaccount,
    verificationStatus: "verified",
    lastVerified: new Date(),
    createdBy: users.owner,
    ...born(),
    __v: 0,
  };
}

function anAgent(agentId: string): object {
  const name = agentId === demo.agentIds[0] ? "Shop" : "Quiet";
  return { agentId, subaccountId: demo.subaccountId, name, ...born() };
}
