import { Long, MongoClient, ObjectId } from "mongodb";
import { afterAll, beforeEach, describe, expect, it } from "vitest";
import { anInstance, type Instance, logOf, verdict } from "./support/wire.ts";
import { aUser } from "./support/world.ts";

/** A central database of this file's own, in which Mongo answers some reads with an error. */
const url = new URL(process.env.MONGODB_URL ?? "");
const client = new MongoClient(url.href);
afterAll(() => client.close());

let instance: Instance;
let ownUrl: string;
let central: ReturnType<typeof client.db>;
beforeEach(async () => {
  const own = new URL(url);
  own.pathname = `/central_${new ObjectId().toHexString()}`;
  central = client.db(own.pathname.slice(1));
  ownUrl = own.href;
  instance = await anInstance({ MONGODB_URL: ownUrl });
});

const broken = (name: string) =>
  central.createCollection(name, { viewOn: "nothing", pipeline: [{ $match: { $expr: { $divide: [1, 0] } } }] });

/** The view fails only if it has a document to read. */
const somethingToRead = () => central.collection<{ _id: ObjectId }>("nothing").insertOne({ _id: new ObjectId() });

describe("a permission that Mongo refuses to tell", () => {
  it.each(["usersubaccounts", "subaccounts"])("is none (%s): 503 CONNECTION_FAILED", async (collection) => {
    await somethingToRead();
    await broken(collection);
    const subaccountId = new ObjectId().toHexString();
    for (const user of [await aUser(), await aUser({ role: "super_admin" })]) {
      const answer = await instance.call("list", { token: user.token, subaccountId });
      expect(verdict(answer)).toEqual([503, "CONNECTION_FAILED"]);
      expect(JSON.stringify(answer.body)).not.toMatch(/divide|Mongo|usersubaccounts/);
      expect(logOf(answer, "ERROR")).toMatchObject([{ reason: { cause: { name: "MongoServerError" } } }]);
    }
  });
});

describe("a temporary access to a date that no clock has", () => {
  it("is over, also for an instance that learns of it from Redis: 403", async () => {
    const [user, subaccountId] = [await aUser(), new ObjectId()];
    await central.collection("subaccounts").insertOne({ _id: subaccountId, isActive: true });
    const permissions = { read: true };
    const membership = { userId: new ObjectId(user.id), subaccountId, isActive: true, permissions, role: "viewer" };
    await central.collection("usersubaccounts").insertOne(membership);
    const expiresAt = { $toDate: Long.fromString("9000000000000000000") };
    await central
      .collection("usersubaccounts")
      .updateOne({}, [{ $set: { temporaryAccess: { enabled: true, expiresAt } } }]);

    const other = await anInstance({ MONGODB_URL: ownUrl });
    for (const one of [instance, other]) {
      const answer = await one.call("list", { token: user.token, subaccountId: subaccountId.toHexString() });
      expect(verdict(answer)).toEqual([403, "PERMISSION_DENIED"]);
    }
  });
});
