import type { Answer, Api } from "./api.ts";

/** One check of a stage. `run` throws `Wrong` if it fails, and may return a detail to print. */
export interface Check {
  name: string;
  /** Names of checks that must have succeeded; otherwise this one is skipped. */
  needs?: readonly string[];
  run(api: Api): Promise<string | undefined>;
}

/** A check has failed; the message says how. */
export class Wrong extends Error {
  override name = "Wrong";
}

/** @throws Wrong unless the answer has this status and, in our envelope, this code. */
export function expectAnswer(answer: Answer, status: number, code?: string): void {
  if (answer.status !== status || answer.body?.code !== code) {
    const told = (...parts: unknown[]) => parts.filter(Boolean).join(" ");
    throw new Wrong(`the answer is ${told(answer.status, answer.body?.code)}, expected ${told(status, code)}`);
  }
  const { success, message, meta } = answer.body ?? {};
  if (success !== status < 400 || typeof message !== "string")
    throw new Wrong("the answer is not in the API's envelope");
  if (!meta?.operationId || answer.headers.get("x-operation-id") !== meta.operationId) {
    throw new Wrong("the header x-operation-id is not meta.operationId");
  }
  if (!answer.headers.get("content-type")?.startsWith("application/json"))
    throw new Wrong("the content-type is not application/json");
}

/** @throws Wrong unless both are equal as JSON. */
export function same(what: string, actual: unknown, expected: unknown): void {
  if (JSON.stringify(actual) !== JSON.stringify(expected)) {
    throw new Wrong(`${what} is ${JSON.stringify(actual)}, expected ${JSON.stringify(expected)}`);
  }
}

/** A check of one request that must succeed. `look` examines its answer, and may return a detail to print. */
export const answered = (
  name: string,
  needs: readonly string[],
  ask: (api: Api) => Promise<Answer>,
  // biome-ignore lint/suspicious/noConfusingVoidType: most return no detail
  look: (answer: Answer) => string | void = () => {},
): Check => ({
  name,
  needs,
  async run(api) {
    const answer = await ask(api);
    expectAnswer(answer, 200);
    return look(answer) ?? undefined;
  },
});

/** A check of one request that must be refused with this status and code. */
export const refused = (
  name: string,
  needs: readonly string[],
  ask: (api: Api) => Promise<Answer>,
  status: number,
  code: string,
  more?: (answer: Answer) => void,
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
