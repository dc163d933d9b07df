import { expect, it } from "vitest";
import { type CreateClauses, walkCreate } from "./model/create.ts";

const all: CreateClauses = { tombstone: true, duplicate: true, handedOut: true, disown: true, deleted: true };

it("one key is one chat, and no chat that was handed out is ended by us, in any order of steps, deaths and stops", () => {
  const { states, violation, trace } = walkCreate(all);
  expect(violation, trace?.join("\n")).toBeUndefined();
  expect(states).toBeGreaterThan(10_000);
});

it.each(Object.keys(all))("it is not so without the clause: %s", (clause) => {
  expect(walkCreate({ ...all, [clause]: false }).violation).toBeDefined();
});
