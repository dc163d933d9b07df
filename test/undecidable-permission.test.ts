import { MongoClient, ObjectId } from "mongodb";
import { afterAll, beforeEach, describe, expect, inject, it } from "vitest";
import { anInstance, type Instance, logOf, verdict } from "./support/wire.ts";
import { aUser } from "./support/world.ts";

/** A central database of this file's own, in which Mongo answers some reads with an error. */
const url = new URL(inject("environment").MONGODB_URL ?? "");
const client = new MongoClient(url.href);
afterAll(() => client.close());

let instance: Instance;
let central: ReturnType<typeof client.db>;
beforeEach(async () => {
  const own = new URL(url);
  own.pathname = `/central_${new ObjectId().toHexString()}`;
  central = client.db(own.pathname.slice(1));
  instance = await anInstance({ MONGODB_URL: own.href });
});

const broken = (name: string) =>
  central.createCollection(name, { viewOn: "nothing", pipeline: [{ $match: { $expr: { $divide: [1, 0] } } }] });

/** The view fails only where there is something to be looked at. */
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
