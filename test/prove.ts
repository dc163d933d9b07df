/** `npm run prove`: the proofs, which take too long to run after every change. */
import { dispatch, type Group, type Row } from "../ops/dispatch.ts";

const vitest = new URL("../node_modules/vitest/vitest.mjs", import.meta.url);

const args = ["run", "--config", "vitest.proofs.config.ts"];
/** Further arguments go to Vitest. */
const proof = (says: string, ...files: string[]): Row => ({ says, program: [vitest, ...args, ...files] });

export const prove: Group = {
  script: "npm run prove",
  rows: {
    failures: proof(
      "causes every failure of MongoDB, Redis and Retell, and compares the answers with docs/failures.md; 4 min",
      "test/failures.proof.ts",
    ),
    outages: proof(
      "stops MongoDB from answering, and waits for each deadline in real time; 1 min",
      "test/outages-mongo.proof.ts",
      "test/overtaken.proof.ts",
    ),
    failover: proof(
      "kills primaries of replica sets, and checks that no acknowledged write is lost; 2 min",
      "test/failover/",
    ),
    "chaos short": proof("sends 80 messages while instances and services fail; 2 min", "test/chaos/chaos.proof.ts"),
    move: proof(
      "moves a tenant to another cluster and back while clients send, and everything fails; 3 min",
      "test/chaos/move.proof.ts",
    ),
    client: proof(
      "sends 1,000 messages by the client while instances and services fail, and packs it; 3 min",
      "test/client/",
    ),
    export: proof("makes a PDF of 5,000 messages, and reads it; 1 min", "test/export.proof.ts"),
    restore: proof(
      "restores a backup of a stage, and of one tenant, while clients send; 1 min",
      "test/restore.proof.ts",
    ),
    fleet: proof(
      "breaks three of 200 tenants, then the stage: what the alarms, the log query and the doctor say; 1 min",
      "test/fleet.proof.ts",
    ),
    model: proof(
      "walks through every order of steps and crashes in a model of the turn protocol; 3 min",
      "test/model/model.proof.ts",
    ),
    large: proof(
      "reads chats of 9 MB, and histories that do not fit into a document; 1 min",
      "test/large-chats.proof.ts",
    ),
    lambda: proof(
      "runs the bundle of every function as Lambda does: cold, warm, after a freeze, against a deadline; 1 min",
      "test/lambda.proof.ts",
    ),
    local: proof(
      "runs npm start and mongod in real processes, and kills them in every way; 2 min",
      "test/start.proof.ts",
      "test/mongod.proof.ts",
    ),
    properties: proof("tries every property with ten times as many runs; 1 min", "test/properties.proof.ts"),
    console: proof("uses the console and the reference page in Chromium; 3 min", "test/console.proof.ts"),
    contributing: proof("adds the endpoint of CONTRIBUTING.md to a copy; 1 min", "test/contributing.proof.ts"),
    heap: proof("measures that an instance's heap does not grow with its requests; 1 min", "test/heap.proof.ts"),
    packages: proof("packs each package, and uses it from an empty folder; 1 min", "packages/"),
    crash: proof(
      "kills a request before and after each of its calls, and lets the client retry; 4 min",
      "test/crash/crash.proof.ts",
    ),
    exports: proof(
      "kills, cancels and overtakes an export's worker at every step, and compares the file; 2 min",
      "test/exports/",
    ),
    guards: proof(
      "removes each safeguard from the code, and checks that its test fails; 4 min",
      "test/guards/guards.proof.ts",
    ),
    schemathesis: {
      says: "lets schemathesis make requests of docs/openapi.json, and checks all answers; --seed N for others; 1 min",
      program: [new URL("seeded.ts", import.meta.url), ...args, "test/schemathesis/"],
    },
    all: proof("runs all of these; 24 min"),
    chaos: {
      says: "as chaos short, as long as its flags say, with all parts (docs/chaos.md); not part of all",
      program: [new URL("chaos/main.ts", import.meta.url)],
    },
  },
};

if (import.meta.main) await dispatch(prove);
