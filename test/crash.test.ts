/** One request of those that `npm run prove -- crash` kills everywhere: the way that nearly all requests take. */
import "./support/own-retell.ts";
import "./support/apart.ts";
import { expect, it } from "vitest";
import { dieAnywhere } from "./crash/deaths.ts";
import { scenarios } from "./crash/doomed.ts";

it("a message may die at any moment: its client comes back, and it is there once", { timeout: 180_000 }, async () => {
  const { calls, violations } = await dieAnywhere(scenarios["a message, warm"]);
  expect(calls).toEqual(expect.arrayContaining(scenarios["a message, warm"].through));
  expect(violations).toEqual([]);
});
