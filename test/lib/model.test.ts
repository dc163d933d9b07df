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
import { type Cast, nameOfCast, violationOf } from "./model/casts.ts";
import type { Clauses } from "./model/state.ts";

const casts: Record<string, Cast> = {
  "two equal messages": {
    clients: "two clients",
    third: "a settler",
    texts: "alike",
    chat: "a new chat",
    calls: "plain",
  },
  "an old chat": {
    clients: "one client that repeats",
    third: "a settler",
    texts: "alike",
    chat: "the old server's chat",
    calls: "plain",
  },
  "a stranger": {
    clients: "two clients",
    third: "a settler",
    texts: "different",
    chat: "a new chat",
    calls: "a refusal and a 500",
    stranger: true,
  },
  refusals: {
    clients: "one client that repeats",
    third: "a settler",
    texts: "alike",
    chat: "a new chat",
    calls: "refusals",
  },
  "late effects": { clients: "two clients", third: "a settler", texts: "alike", chat: "a new chat", calls: 500 },
  retention: {
    clients: "one client that repeats",
    third: "a settler",
    texts: "alike",
    chat: "a chat that goes on",
    cuts: 1,
    calls: "plain",
  },
  "the agent's end": {
    clients: "two clients",
    third: "a WEBHOOK",
    texts: "different",
    chat: "a new chat",
    calls: "endings",
  },
  "an END": { clients: "two clients", third: "an END", texts: "different", chat: "a new chat", calls: "endings" },
};

it.each(Object.entries(casts))(
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
  const cast = casts[name === "two equal messages" && clause === "key" ? "retention" : name] as Cast;
  expect(violationOf(cast, { [clause]: false }).violation).toBeDefined();
});
