import type { Answer, Api } from "./api.ts";

/** What is looked at, and whether it is as it should be: throws a Wrong if not. A word about it may come back. */
export interface Check {
  name: string;
  /** Checks without whose success this one says nothing. */
  needs?: readonly string[];
  run(api: Api): Promise<string | undefined>;
}

/** Something is not as it should be; the message says what. */
export class Wrong extends Error {
  override name = "Wrong";
}

/** @throws Wrong unless the answer has this status and, in our envelope, this code. */
export function expectAnswer(answer: Answer, status: number, code?: string): void {
  if (answer.status !== status || answer.body?.code !== code) {
    const told = (...parts: unknown[]) => parts.filter(Boolean).join(" ");
    throw new Wrong(`answered ${told(answer.status, answer.body?.code)}, not ${told(status, code)}`);
  }
  const { success, message, meta } = answer.body ?? {};
  if (success !== status < 400 || typeof message !== "string") throw new Wrong("is not in the envelope");
  if (!meta?.operationId || answer.headers.get("x-operation-id") !== meta.operationId) {
    throw new Wrong("has no x-operation-id that is that of its meta");
  }
  if (!answer.headers.get("content-type")?.startsWith("application/json")) throw new Wrong("is not application/json");
}

/** @throws Wrong unless both are the same as JSON. */
export function same(what: string, actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Wrong(`${what} is ${JSON.stringify(actual)}, not ${JSON.stringify(expected)}`);
  }
}

/** A check that is one request and the refusal that it gets. */
export const refused = (
  name: string,
  needs: readonly string[],
  ask: (api: Api) => Promise<Answer>,
  status: number,
  code: string,
  more?: Look,
): Check => ({
  name,
  needs,
  async run(api) {
    const answer = await ask(api);
    expectAnswer(answer, status, code);
    more?.(answer);
    return `${status} ${code}`;
  },
});
type Look = (answer: Answer) => void;
