/** `npm run resources -- --stage NAME`: the functions of a stage, and what each may do, as `sst deploy` would make them. */
import { parseArgs } from "node:util";
import { readEnvFile } from "../infra/env-file.ts";
import { type DeployedFunction, functionsOf } from "../infra/functions.ts";
import { secrets } from "../lib/platform/config.ts";
import { table } from "./table.ts";

const { values } = parseArgs({ options: { stage: { type: "string" } } });
if (!values.stage) {
  console.error("Usage: npm run resources -- --stage NAME");
  process.exit(1);
}
// As sst reads them: what comes first counts, and what is empty is not set.
try {
  for (const file of [".env", `.env.${values.stage}`]) {
    for (const [name, value] of Object.entries(readEnvFile(file))) process.env[name] ||= value;
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}

const row = ({
  name,
  on,
  memory,
  timeoutSeconds,
  reserved,
  permissions,
  secrets: linked,
  environment,
}: DeployedFunction) => [
  name,
  "route" in on ? on.route : on.schedule,
  memory,
  `${timeoutSeconds} s`,
  reserved ?? "",
  ["its log", ...permissions.map(({ actions, resources }) => `${actions.join(", ")} on ${resources.join(", ")}`)].join(
    "; ",
  ),
  linked.length === Object.keys(secrets).length ? "all" : linked.join(", ") || "none",
  Object.keys(environment).join(", "),
];
const head = ["function", "started by", "memory", "timeout", "reserved", "permissions", "secrets", "environment"];
console.log(table([head, ...functionsOf(values.stage, process.env).map(row)]));
console.log(`\nAll secrets: ${Object.values(secrets).join(", ")}`);
