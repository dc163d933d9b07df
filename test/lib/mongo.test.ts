import {
  MongoAPIError,
  MongoClientClosedError,
  MongoNetworkError,
  MongoServerError,
  MongoTopologyClosedError,
} from "mongodb";
import { expect, it } from "vitest";
import { bounded, isUnreachable } from "../../lib/platform/mongo.ts";

/** What the driver makes of what was under way when its monitor loses the server: exported by no name. */
class PoolClearedOnNetworkError extends MongoNetworkError {
  override get name() {
    return "PoolClearedOnNetworkError";
  }
}

it.each([
  new MongoNetworkError("connection 1 to 127.0.0.1 closed"),
  new PoolClearedOnNetworkError("Connection to 127.0.0.1 interrupted due to server monitor timeout"),
  new MongoTopologyClosedError("Topology is closed"),
  new MongoClientClosedError(),
  Object.assign(new Error("write EPIPE"), { code: "EPIPE" }),
])("$name is a Mongo that cannot be reached", async (error) => {
  expect(await bounded(Promise.reject(error)).catch(isUnreachable)).toBe(true);
});

it.each([new MongoServerError({ message: "E11000", code: 11_000 }), new MongoAPIError("misused"), new Error("a bug")])(
  "$name is not",
  async (error) => {
    expect(await bounded(Promise.reject(error)).catch((thrown) => thrown)).toBe(error);
  },
);
