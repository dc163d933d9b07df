import { AwsClient } from "aws4fetch";
import { awsEnvironment } from "./config.ts";
import { UnexpectedAnswer } from "./errors.ts";
import { sleep } from "./time.ts";

/** How long one request may take, and how often it is tried: a part of a file has 8 MB. */
const patient = { requestMs: 20_000, tries: 3 };
/** For a request that an answer to a client, or the sweep, waits for. */
export const impatient = { requestMs: 2_000, tries: 2 };

/**
 * A client of AWS with the credentials of this Lambda. aws4fetch signs in 2 kB; the SDK's two clients have 300 kB, and
 * repeat and bound requests in ways of their own.
 */
export function aws(service: "s3" | "sqs"): AwsClient {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION } = awsEnvironment();
  return new AwsClient({
    accessKeyId: AWS_ACCESS_KEY_ID,
    secretAccessKey: AWS_SECRET_ACCESS_KEY,
    ...(AWS_SESSION_TOKEN ? { sessionToken: AWS_SESSION_TOKEN } : {}),
    region: AWS_REGION,
    service,
  });
}

/**
 * Sends a request that may be repeated, while AWS does not answer or answers 429 or 5xx.
 *
 * @throws The last failure. Otherwise the answer may have any other status.
 */
export async function send(
  client: AwsClient,
  url: string,
  init: RequestInit,
  { requestMs, tries } = patient,
): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    try {
      const signal = AbortSignal.timeout(requestMs);
      const answer = await fetch(await client.sign(url, init), { signal });
      if (answer.status < 500 && answer.status !== 429) return answer;
      await answer.body?.cancel();
      throw Object.assign(new UnexpectedAnswer("AWS did not do what it was asked"), { status: answer.status });
    } catch (error) {
      if (attempt === tries) throw error;
      await sleep(attempt * 200);
    }
  }
}
