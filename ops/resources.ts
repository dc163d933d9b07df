import { readEnvFile } from "../infra/env-file.ts";
import { type DeployedFunction, functionsOf } from "../infra/functions.ts";
import { secrets } from "../lib/platform/config.ts";
import { defineCommand } from "./command.ts";
import { table } from "./table.ts";

export const command = defineCommand({
  details: "Reads .env and .env.NAME as sst does. Prints names of settings and secrets, no values.",
  flags: { stage: { type: "text", description: "the stage's name", required: true } },
  async run({ stage }) {
    // In sst's order: what is set first counts, and an empty value is none.
    for (const file of [".env", `.env.${stage}`]) {
      for (const [name, value] of Object.entries(readEnvFile(file))) process.env[name] ||= value;
    }
    const head = ["function", "started by", "memory", "timeout", "reserved", "permissions", "secrets", "environment"];
    console.log(table([head, ...functionsOf(stage, process.env).map(row)]));
    console.log(`\nAll secrets: ${Object.values(secrets).join(", ")}`);
  },
});

function row({
  name,
  on,
  memory,
  timeoutSeconds,
  reserved,
  permissions,
  uses,
  secrets: linked,
  environment,
}: DeployedFunction) {
  const allowed = permissions.map(({ actions, resources }) => `${actions.join(", ")} on ${resources.join(", ")}`);
  return [
    name,
    "route" in on ? on.route : "queue" in on ? `queue ${on.queue}` : on.schedule,
    memory,
    `${timeoutSeconds} s`,
    reserved ?? "",
    ["its log", ...allowed, ...uses].join("; "),
    linked.length === Object.keys(secrets).length ? "all" : linked.join(", ") || "none",
    Object.keys(environment).join(", "),
  ];
}
