import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { originsOf } from "../lib/api/cors.ts";
import { defineCommand, type Named } from "../ops/command.ts";
import { runCommand } from "../ops/run-command.ts";
import { readEnvFile } from "./env-file.ts";

/**
 * Deploys this folder's build to a stage and tries it. If it does not work, it deploys the previous build again: another
 * folder like this one, built and with its packages. The token of the smoke test is in SMOKE_TOKEN.
 *
 * Indexes come first. A new index does not disturb the version that runs, and the new version needs not wait for it.
 *
 * @returns Whether the stage runs this build.
 */
function release({ stage, previous, ...chat }: Given): boolean {
  const here = process.cwd();
  // The stage's databases are known by its last deployment. Before its first one there is nothing to prepare.
  if (previous && !step("indexes, before the code", here, indexes(stage))) {
    return tell("error", `${stage} was not changed: its indexes could not be created`);
  }
  if (deployAndTry(here, stage, chat)) return tell("notice", `${stage} runs this build`);
  if (!previous) return tell("error", `${stage} may be broken, and there is no previous build to go back to`);

  // Settings have no history: both builds get the present ones.
  for (const file of [".env", `.env.${stage}`]) {
    if (existsSync(join(here, file))) copyFileSync(join(here, file), join(previous, file));
  }
  return deployAndTry(previous, stage, chat)
    ? tell("error", `${stage} runs the previous build again: this one did not work`)
    : tell("error", `${stage} may be broken: neither this build nor the previous one works`);
}

interface Given extends Chat {
  stage: string;
  previous: string | undefined;
}

interface Chat {
  subaccount: string;
  agent: string;
}

function deployAndTry(folder: string, stage: string, { subaccount, agent }: Chat): boolean {
  if (!step("deploy", folder, ["sst", "deploy", "--stage", stage])) return false;
  // Again, because the databases may be others since this deployment.
  if (!step("indexes", folder, indexes(stage))) return false;
  const url = urlOf(folder);
  if (url === undefined) return false;
  const at = ["--url", url, "--subaccount", subaccount, "--agent", agent];
  return step("smoke", folder, ["node", "ops/main.ts", "smoke", ...at, ...originOf(folder, stage)]);
}

/** Where the stage answers, as its deployment says; undefined, which is a step that failed, where that says none. */
function urlOf(folder: string): string | undefined {
  try {
    const { url } = JSON.parse(readFileSync(join(folder, ".sst/outputs.json"), "utf8"));
    if (typeof url === "string") return url;
  } catch {
    // A file that is missing or broken names no address either.
  }
  console.error(`\n${join(folder, ".sst/outputs.json")} does not say where the stage answers`);
  return undefined;
}

/** A tenant whose own database is down must neither hold up a release nor take one back. */
const indexes = (stage: string) => [
  "sst",
  "shell",
  "--stage",
  stage,
  "--",
  "node",
  "ops/main.ts",
  "indexes",
  "--yes",
  "--skip-unreachable",
];

/** The first origin that may call the stage; none if all may. The deployment has refused malformed ones. */
function originOf(folder: string, stage: string): string[] {
  const own = [process.env, readEnvFile(join(folder, ".env")), readEnvFile(join(folder, `.env.${stage}`))];
  const origins = own.map(({ CORS_ORIGINS }) => CORS_ORIGINS?.trim()).find(Boolean);
  const origin = originsOf(origins).find((one) => !one.includes("*"));
  return origin ? ["--origin", origin] : [];
}

/** Runs a program, that of the folder's own packages if they have it. Returns whether it succeeded. */
function step(name: string, folder: string, [program = "", ...args]: string[]): boolean {
  console.log(`\n=== ${name}, ${folder}`);
  const { PATH, XDG_CONFIG_HOME } = process.env;
  const tools = join(folder, ".config"); // SST's own tools, if the build brings them
  try {
    execFileSync(program, args, {
      cwd: folder,
      stdio: "inherit",
      env: {
        ...process.env,
        PATH: `${join(folder, "node_modules/.bin")}:${PATH}`,
        PREBUILT: "true",
        ...(existsSync(tools) ? { XDG_CONFIG_HOME: tools } : { XDG_CONFIG_HOME }),
      },
    });
    return true;
  } catch {
    return false; // it has said why
  }
}

/** Says how it ended, as GitHub shows it on top of a run. */
function tell(kind: "notice" | "error", text: string): boolean {
  console.log(`\n::${kind}::${text}`);
  return kind === "notice";
}

export const named: Named = {
  call: "node infra/release.ts",
  says: "deploys this folder's build to a stage and tries it; if it does not work, the previous build comes back",
};

export const command = defineCommand({
  details: "SMOKE_TOKEN is the access token for the smoke test. docs/deploying.md describes the steps.",
  flags: {
    stage: { type: "text", description: "the stage's name", required: true },
    subaccount: { type: "text", description: "a subaccount that the token may use", required: true },
    agent: { type: "text", description: "an agent of the subaccount", required: true },
    previous: { type: "path", description: "the folder of the previous build (default: none comes back)" },
  },
  refuse: () => (process.env.SMOKE_TOKEN ? undefined : "SMOKE_TOKEN is missing"),
  run: async (given) => release(given),
});

if (import.meta.main) await runCommand(named, process.argv.slice(2), async () => command);
