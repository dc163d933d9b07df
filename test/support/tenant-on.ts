import { type MongoClient, ObjectId } from "mongodb";
import { encrypt } from "../../lib/platform/crypto.ts";
import { aWorld, central, makeUnique, type World } from "./world.ts";

/**
 * A subaccount whose database is on a cluster of its own.
 *
 * @param client Connected to that cluster.
 * @param url    What the subaccount's connection string says.
 */
export async function aTenantOn(client: MongoClient, url: string): Promise<World> {
  const world = await aWorld();
  const db = client.db(world.db.databaseName);
  await makeUnique(db, "tenant");
  await db.collection("chatagents").insertOne({ agentId: world.agentId, subaccountId: world.subaccountId });
  const mongodbUrl = await encrypt(url, world.subaccountId);
  const _id = new ObjectId(world.subaccountId);
  await central.collection("subaccounts").updateOne({ _id }, { $set: { mongodbUrl } });
  return { ...world, db };
}
