/** `npm run local`: the parts of `npm start` by themselves, and what fills and empties its data. */
import { readDotEnv } from "../infra/env-file.ts";
import { dispatch, type Group } from "../ops/dispatch.ts";

export const local: Group = {
  script: "npm run local",
  prepare: readDotEnv,
  rows: {
    simulator: {
      says: "starts the Retell simulator",
      program: [new URL("../packages/retell-simulator/src/cli.ts", import.meta.url)],
    },
    emulator: {
      says: "starts the emulator of Upstash's Redis REST API",
      program: [new URL("../packages/upstash-emulator/src/cli.ts", import.meta.url)],
    },
    gateway: {
      says: "starts the gateway with the functions behind it, and no services",
      load: () => import("./gateway.ts"),
    },
    lambda: {
      says: "bundles a function and runs it as Lambda does: cold, warm, and frozen in between",
      load: () => import("./lambda.ts"),
    },
    seed: { says: "fills a subaccount with chats, to try lists and load", load: () => import("./seed.ts") },
    reset: { says: "deletes the data that npm start keeps in .local/", load: () => import("./reset.ts") },
  },
};

if (import.meta.main) await dispatch(local);
