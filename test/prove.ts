/** `npm run prove`: the long proofs, which take minutes and are no part of `npm test`. */
import { dispatch, type Group, type Row } from "../ops/dispatch.ts";

const vitest = new URL("../node_modules/vitest/vitest.mjs", import.meta.url);
const config = ["run", "--config", "vitest.slow.config.ts"];

/** Further arguments go to Vitest. */
const proof = (name: string, says: string): Row => ({ says, program: [vitest, ...config, `test/${name}`] });

export const prove: Group = {
  script: "npm run prove",
  rows: {
    chaos: {
      says: "runs clients that retry while instances and services fail, and counts broken promises",
      program: [new URL("chaos/main.ts", import.meta.url)],
    },
    crash: proof("crash", "kills a request before and after each of its calls, and lets the client retry"),
    model: proof("model", "walks through every order of steps and crashes in a model of the turn protocol"),
    guards: proof("guards", "removes each line that keeps a promise, and sees its test fail"),
    failover: proof("failover", "kills primaries of replica sets, and looks for what was acknowledged"),
  },
};

if (import.meta.main) await dispatch(prove);
