/**
 * A request is killed at every step: before and after the effect of each of its calls to Mongo, Redis and Retell.
 * Then its client comes back, the sweep runs, and all is as if nothing had happened. Each process that dies is a new
 * one, as after a cold start, or, where it says so, one that has served a request before.
 */
import "../support/own-retell.ts";
import { afterAll, expect, it } from "vitest";
import { dieAnywhere } from "./deaths.ts";
import { scenarios } from "./doomed.ts";

const table: string[] = [];
afterAll(() => console.log(table.join("\n")));

it.each(Object.entries(scenarios))("%s may die at any moment", { timeout: 300_000 }, async (name, scenario) => {
  const { calls, moments, violations } = await dieAnywhere(scenario);
  table.push(`${name}: ${calls.length} calls, ${moments} deaths, ${violations.length} violations`);
  expect(calls).toEqual(expect.arrayContaining(scenario.through));
  expect(violations).toEqual([]);
});
