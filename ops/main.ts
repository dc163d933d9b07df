/** `npm run ops`: the commands for operators, on a stage or on `npm start`. */
import { readDotEnv } from "../infra/env-file.ts";
import { dispatch, type Group } from "./dispatch.ts";

export const ops: Group = {
  script: "npm run ops",
  prepare: readDotEnv,
  rows: {
    doctor: {
      says: "checks settings, MongoDB and its indexes, Redis, Retell keys and clocks, and says how to fix what is wrong",
      load: () => import("./doctor.ts"),
    },
    smoke: {
      says: "sends about 30 requests to a deployed stage: refusals, headers, limits and, with an agent, a whole chat",
      load: () => import("./smoke.ts"),
    },
    report: {
      says: "counts chats, messages and bytes: of all subaccounts, or of one in detail",
      load: () => import("./report.ts"),
    },
    sweep: { says: "runs the scheduled sweep once", load: () => import("./sweep.ts") },
    pause: {
      says: "pauses the sweep and the webhooks of a subaccount or of the stage, and on request its requests",
      load: () => import("./pause.ts"),
    },
    resume: {
      says: "ends a pause; after a restore it stores again what only Retell still has",
      load: () => import("./resume.ts"),
    },
    "subaccount list": {
      says: "lists the subaccounts: whether each is active or paused, and where its chats are",
      load: () => import("./subaccount/list.ts"),
    },
    "subaccount add": {
      says: "adds a subaccount: its database, Retell account, agents and members; checks everything first",
      load: () => import("./subaccount/add.ts"),
    },
    "subaccount rekey": {
      says: "replaces a subaccount's Retell key, or adds a key that signs its webhooks",
      load: () => import("./subaccount/rekey.ts"),
    },
    "subaccount disable": {
      says: "refuses a subaccount's requests",
      load: async () => ({ command: (await import("./subaccount/active.ts")).disable }),
    },
    "subaccount enable": {
      says: "takes a subaccount's requests again",
      load: async () => ({ command: (await import("./subaccount/active.ts")).enable }),
    },
    "subaccount move": {
      says: "moves a subaccount's chats to another database or cluster, while they go on",
      load: () => import("./subaccount/move.ts"),
    },
    "keys rotate": {
      says: "encrypts every stored secret with the current ENCRYPTION_KEY",
      load: () => import("./rotate-keys.ts"),
    },
    indexes: {
      says: "creates the missing indexes of the central database and of every subaccount's",
      load: () => import("./indexes.ts"),
    },
    "search-rebuild": {
      says: "indexes the chats of a subaccount anew for the search",
      load: () => import("./search-rebuild.ts"),
    },
    backfill: {
      says: "gives stored chats what is derived of them and missing: stats for analytics, tags for filters, words for the search",
      load: () => import("./backfill.ts"),
    },
    "forget access": {
      says: "makes every instance read a user's permissions again, at the next request",
      load: () => import("./forget/access.ts"),
    },
    "forget cache": {
      says: "drops a subaccount's cached list and transcripts",
      load: () => import("./forget/cache.ts"),
    },
    logs: {
      says: "prints what happened to one request or in one chat, from the local log",
      load: () => import("./logs.ts"),
    },
    cost: {
      says: "calculates what a month of a stage costs, from measured units and list prices",
      load: () => import("./cost.ts"),
    },
    resources: {
      says: "prints the functions of a stage as a deployment would make them: memory, time, permissions, secrets",
      load: () => import("./resources.ts"),
    },
  },
};

if (import.meta.main) await dispatch(ops);
