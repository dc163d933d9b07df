/**
 * The turn protocol as a model that is walked through exhaustively: in every order of the steps of two senders, a settler,
 * an END or a WEBHOOK, and a stranger who speaks in the same chat at Retell; with a death after every step; and with a
 * Retell that takes a message at once, late or never, answers, refuses or does not answer, and may lose the beginning of
 * its history. `reconcile` is the real code (model/code.ts); the guarded writes of lib/chat are modelled by what they
 * check. Effects of a refusal come before its answer, late effects before SETTLE is over: a Retell of which less can be
 * relied on is not modelled, but for late effects after a 500.
 *
 * `npm run prove -- model` walks through more casts.
 */
import { expect, it } from "vitest";
import { nameOfCast, violationOf } from "./model/casts.ts";
import { casts, others } from "./model/known.ts";
import type { Clauses } from "./model/state.ts";

/** The others, of which each takes seconds, are for `npm run prove -- model`. */
const quick = Object.entries(casts).filter(([name]) => !others.includes(name));

it.each(quick)(
  "nothing is lost, doubled, told otherwise or taken for another's in any order of steps and deaths: %s",
  (_name, cast) => {
    const { states, undecidable, violation } = violationOf(cast);
    expect(violation, nameOfCast(cast)).toBeUndefined();
    expect(states).toBeGreaterThan(10_000);
    // Without a stranger and without effects after a 500 everything can be decided.
    if (!cast.stranger && cast.calls !== 500) expect(undecidable).toBe(0);
    else expect(undecidable).toBeGreaterThan(0);
  },
);

const without: Record<keyof Clauses, string> = {
  key: "two equal messages",
  idle: "two equal messages",
  revision: "two equal messages",
  import: "an old chat",
  texts: "a stranger",
  candidates: "late effects",
  refusals: "refusals",
  alignment: "retention",
  endedIn: "the agent's end",
};

it.each(Object.entries(without) as [keyof Clauses, string][])("it is not so without the clause: %s", (clause, name) => {
  const cast = casts[name === "two equal messages" && clause === "key" ? "retention" : name];
  expect(cast && violationOf(cast, { [clause]: false }).violation).toBeDefined();
});
