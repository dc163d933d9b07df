import { expect, it } from "vitest";
import { run } from "../bench/child.ts";
import type { Measured, Wanted } from "../bench/heap.ts";
import { aWorld } from "./support/world.ts";

it("the heap of an instance does not grow with its requests", async () => {
  const { subaccountId, agentId, owner } = await aWorld();
  const wanted: Wanted = { subaccountId, agentId, token: owner.token, at: [200, 1_000] };
  const [early, late] = await run<Measured>("heap.ts", wanted, ["--expose-gc"]);
  expect(late?.requests).toBeGreaterThanOrEqual(1_000);
  expect((late?.heapBytes ?? 0) - (early?.heapBytes ?? 0)).toBeLessThan(3_000_000);
});
