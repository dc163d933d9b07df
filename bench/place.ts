import { SignJWT } from "jose";
import { type Db, MongoClient, ObjectId } from "mongodb";
import { encrypt } from "../lib/platform/crypto.ts";
import { ensureIndexes } from "../lib/platform/indexes.ts";
import type { Place } from "./api.ts";

/** A subaccount that one measurement has for itself, and its database. */
export interface OwnPlace extends Place {
  db: Db;
  mongo: MongoClient;
}

/** Makes a subaccount with an agent, a Retell account, indexes, and an owner with a token. */
export async function aPlace(agentId = "agent_shop"): Promise<OwnPlace> {
  const { MONGODB_URL = "", JWT_SECRET } = process.env;
  const mongo = new MongoClient(MONGODB_URL);
  const central = mongo.db();
  const [subaccount, user] = [new ObjectId(), new ObjectId()];
  const subaccountId = subaccount.toHexString();
  const databaseName = `bench_${subaccountId}`;
  const db = mongo.db(databaseName);
  await Promise.all([ensureIndexes(central, "central"), ensureIndexes(db, "tenant")]);
  await central.collection("subaccounts").insertOne({ _id: subaccount, databaseName, isActive: true });
  await central.collection("usersubaccounts").insertOne({
    userId: user,
    subaccountId: subaccount,
    role: "owner",
    isActive: true,
    permissions: { read: true, write: true, delete: true, admin: true },
  });
  await central.collection("retellaccounts").insertOne({
    subaccountId: subaccount,
    apiKey: await encrypt(`key_${subaccountId}`, subaccountId),
    accountName: "Bench",
    isActive: true,
  });
  await db.collection("chatagents").insertOne({ agentId, subaccountId });
  const token = await new SignJWT({ id: user.toHexString(), email: "bench@test.example", role: "user" })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1d")
    .sign(new TextEncoder().encode(JWT_SECRET));
  return { subaccountId, agentId, token, db, mongo };
}
