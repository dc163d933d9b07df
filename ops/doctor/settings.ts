import * as z from "zod";
import { malformedSettings } from "../../infra/settings.ts";
import { config, type Problem, secrets } from "../../lib/platform/config.ts";
import { errorName } from "../failure.ts";
import { type Finding, ok, wrong } from "./finding.ts";

/** Whether the API's settings can be read: a finding for each that cannot, and for those that only a deployment uses. */
export function settings(): Finding[] {
  try {
    return [ok("settings", `stage ${config().STAGE}`), ...forDeploying([])];
  } catch (error) {
    const { problems = [] } = error as { problems?: Problem[] };
    if (problems.length === 0) throw error;
    const findings = problems.map(({ setting, message }) => {
      const link = secrets[setting as keyof typeof secrets];
      const elsewhere = link
        ? `, or as the stage's secret ${link}, and deploy: sst shell has the last deployment's`
        : "";
      return wrong(setting, message, `set it in .env${elsewhere}; .env.example says what it is`);
    });
    return [...findings, ...forDeploying(problems)];
  }
}

/** @param known What `settings` has reported already: each setting is named once. */
function forDeploying(known: Problem[]): Finding[] {
  const fix = "correct it in .env, or leave it empty: a deployment from here would be refused";
  return malformedSettings(process.env)
    .filter((problem) => !known.some(({ setting }) => problem.startsWith(`${setting} `)))
    .map((problem) => wrong("for deploying", problem, fix));
}

/** Anyone who has a token can try secrets against it offline, so a short one can be guessed. */
const secretBytes = 32;
/** As long as `authenticate` waits for it. */
const keySetMs = 2_000;

const KeySet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) });

/** What access tokens are verified by: the secrets, or the key set, or both. */
export async function tokens(): Promise<Finding[]> {
  const { JWT_SECRET, JWT_SECRETS_OLD, JWT_JWKS_URL } = config();
  return [
    ...(JWT_SECRET === undefined ? [] : [secret("JWT_SECRET", JWT_SECRET)]),
    ...JWT_SECRETS_OLD.map((text) => secret("JWT_SECRETS_OLD", text)),
    ...(JWT_JWKS_URL === undefined ? [] : [await keySet(JWT_JWKS_URL)]),
  ];
}

function secret(setting: "JWT_SECRET" | "JWT_SECRETS_OLD", text: string): Finding {
  if (Buffer.byteLength(text) >= secretBytes) return ok(setting);
  const fix = "make a longer one, and change it at the same time where tokens are signed";
  return wrong(setting, `shorter than ${secretBytes} bytes`, fix);
}

async function keySet(url: string): Promise<Finding> {
  const fix = "no RS256, ES256 or EdDSA token is accepted without it: is the URL right, and is its server up?";
  try {
    const answer = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(keySetMs) }); // as jose asks
    if (answer.status !== 200) return wrong("JWT_JWKS_URL", `answers ${answer.status}`, fix);
    const { data } = KeySet.safeParse(await answer.json().catch(() => undefined));
    return data ? ok("JWT_JWKS_URL", `${data.keys.length} keys`) : wrong("JWT_JWKS_URL", "answers no key set", fix);
  } catch (error) {
    return wrong("JWT_JWKS_URL", errorName(error), fix);
  }
}
