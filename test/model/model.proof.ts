/** The model of test/lib/model.test.ts with more casts: minutes, so it is not among the tests. */
import { expect, it } from "vitest";
import { type Cast, nameOfCast, violationOf } from "../lib/model/casts.ts";
import { casts as known, others } from "../lib/model/known.ts";

const clients = ["two clients", "one client that repeats"] as const;
const texts = [
  "alike",
  "different",
  "the stranger's as A's",
  "the stranger's as B's",
  "kept without white space",
  "A's replaced by a guardrail",
] as const;

const casts: Cast[] = [
  ...texts.flatMap((text) =>
    (["plain", "refusals", 500] as const).map((calls) => ({
      clients: "two clients" as const,
      third: "a settler" as const,
      texts: text,
      chat: "a new chat" as const,
      calls,
      stranger: true,
    })),
  ),
  ...clients.flatMap((client) =>
    (["an END", "a WEBHOOK"] as const).flatMap((third) =>
      (client === "two clients" ? (["endings", "refusals"] as const) : (["refusals"] as const)).map((calls) => ({
        clients: client,
        third,
        texts: "different" as const,
        chat: "a new chat" as const,
        calls,
        stranger: true,
      })),
    ),
  ),
  ...clients.flatMap((client) =>
    (["alike", "different"] as const).map((text) => ({
      clients: client,
      third: "a settler" as const,
      texts: text,
      chat: "a chat that goes on" as const,
      calls: "plain" as const,
      stranger: true,
      cuts: 2,
    })),
  ),
  ...clients.map((client) => ({
    clients: client,
    third: "a settler, twice" as const,
    texts: "alike" as const,
    chat: "the old server's chat" as const,
    calls: "plain" as const,
  })),
  {
    clients: "one client that repeats",
    third: "a settler",
    texts: "alike",
    chat: "a new chat",
    calls: "every but the agent's end",
    stranger: true,
  },
];

/** A repeat that comes after FINISH and before the write of the chat's end is told "ongoing", the first send "ended". */
const open: Cast[] = (["an END", "a settler"] as const).map((third) => ({
  clients: "one client that repeats",
  third,
  texts: "different",
  chat: "a new chat",
  calls: "endings",
}));

it.each([...casts, ...others.map((name) => known[name] as Cast)].map((cast) => [nameOfCast(cast), cast] as const))(
  "nothing goes wrong: %s",
  { timeout: 600_000 },
  (_, cast) => {
    const { violation } = violationOf(cast);
    expect(violation).toBeUndefined();
  },
);

it.fails.each(open.map((cast) => [nameOfCast(cast), cast] as const))(
  "is not so yet: %s",
  { timeout: 600_000 },
  (_, cast) => {
    expect(violationOf(cast).violation).toBeUndefined();
  },
);
