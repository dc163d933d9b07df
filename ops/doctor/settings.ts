import * as z from "zod";
import { malformedSettings } from "../../infra/settings.ts";
import { config, type Problem, secrets } from "../../lib/platform/config.ts";
import { type Finding, ill, saying, well } from "./finding.ts";

/** Whether the API's own settings can be read: a finding for each that cannot, and for what is for deploying alone. */
export function settings(): Finding[] {
  try {
    return [well("settings", `stage ${config().STAGE}`), ...forDeploying([])];
  } catch (error) {
    const { problems = [] } = error as { problems?: Problem[] };
    if (problems.length === 0) throw error;
    const findings = problems.map(({ setting, message }) => {
      const link = secrets[setting as keyof typeof secrets];
      const elsewhere = link
        ? `, or as the stage's secret ${link}, and deploy: sst shell has the last deployment's`
        : "";
      return ill(setting, message, `set it in .env${elsewhere}; .env.example says what it is`);
    });
    return [...findings, ...forDeploying(problems)];
  }
}

/** @param known What is wrong for the API itself: each setting is named once. */
function forDeploying(known: Problem[]): Finding[] {
  const mend = "set it right in .env, or leave it empty: a deployment from here would be refused";
  return malformedSettings(process.env)
    .filter((problem) => !known.some(({ setting }) => problem.startsWith(`${setting} `)))
    .map((problem) => ill("for deploying", problem, mend));
}

/** Whoever has one token can try keys against it for as long as he likes. */
const secretBytes = 32;
/** As `authenticate` waits for it. */
const keySetMs = 2_000;

const KeySet = z.object({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) });

/** What access tokens are verified by: the secret, or the key set, or both. */
export async function tokens(): Promise<Finding[]> {
  const { JWT_SECRET, JWT_JWKS_URL } = config();
  return [
    ...(JWT_SECRET === undefined ? [] : [secret(JWT_SECRET)]),
    ...(JWT_JWKS_URL === undefined ? [] : [await keySet(JWT_JWKS_URL)]),
  ];
}

function secret(text: string): Finding {
  if (Buffer.byteLength(text) >= secretBytes) return well("JWT_SECRET");
  const mend = "make a longer one, and have whoever signs tokens use it from the same moment on";
  return ill("JWT_SECRET", `shorter than ${secretBytes} bytes`, mend);
}

async function keySet(url: string): Promise<Finding> {
  const mend = "no RS256, ES256 or EdDSA token is accepted without it: is the URL right, and is its server up?";
  try {
    const answer = await fetch(url, { redirect: "manual", signal: AbortSignal.timeout(keySetMs) }); // as jose asks
    if (answer.status !== 200) return ill("JWT_JWKS_URL", `answers ${answer.status}`, mend);
    const { data } = KeySet.safeParse(await answer.json().catch(() => undefined));
    return data ? well("JWT_JWKS_URL", `${data.keys.length} keys`) : ill("JWT_JWKS_URL", "answers no key set", mend);
  } catch (error) {
    return ill("JWT_JWKS_URL", saying(error), mend);
  }
}
