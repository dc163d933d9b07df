import type { Cast } from "./casts.ts";

/** One cast for each clause of the protocol, which without the clause goes wrong. */
export const casts: Record<string, Cast> = {
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

/** Those that take longest. */
export const others = ["refusals", "retention", "the agent's end", "an END"];
