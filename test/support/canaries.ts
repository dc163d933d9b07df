import { inject } from "vitest";
import { isOfRequest, LogLine, RequestLine } from "../../ops/logs/line.ts";
import { MetricLine } from "./emf.ts";

/** Part of every key and content that the tests invent. It must appear in no log line. */
export const canary = "cAnArY";

/** Bearer tokens, Retell's keys, ciphertexts and passwords in addresses, with any content. */
const shapes = [new RegExp(canary, "i"), /eyJ[\w-]{8,}/, /\bkey_\w/, /\bv2\.\w{8}\./, /mongodb(\+srv)?:\/\/\S*@/];

/** Settings whose values are secrets. */
const secrets = ["UPSTASH_REDIS_REST_TOKEN", "JWT_SECRET", "JWT_SECRETS_OLD", "ENCRYPTION_KEY", "ENCRYPTION_KEYS_OLD"];

/** Fields of requests and answers whose content is the caller's, except the ids among the variables. */
const ofCaller =
  /^(content|metadata|transcript|chat_analysis|retell_llm_dynamic_variables|collected_dynamic_variables|arguments)$/;
const ids = /^(agent_id|subaccount_id|chat_id)$/;

const told = new Set<string>();

/** Registers the private texts of a body, sent or answered, which no log may contain: all of a body that is not JSON. */
export function hide(body: unknown): void {
  if (typeof body === "string") mustNotBeLogged(body);
  for (const [name, inside] of entriesOf(body)) {
    if (ofCaller.test(name)) mustNotBeLogged(inside);
    else if (typeof inside === "object") hide(inside);
  }
}

function mustNotBeLogged(value: unknown): void {
  if (typeof value === "string" && isTelling(value)) told.add(value);
  for (const [name, inside] of entriesOf(value)) {
    if (ids.test(name)) continue;
    mustNotBeLogged(name);
    mustNotBeLogged(inside);
  }
}

const entriesOf = (value: unknown) => (typeof value === "object" && value !== null ? Object.entries(value) : []);

/** Shorter texts, and texts that could be part of an id, appear in harmless lines too. */
const isTelling = (text: string) => text.length >= 4 && /[^0-9a-f-]/i.test(text);

/** At most one word, which may be in a path as well as in a body; the cache key of a transcript then ends with it. */
const isId = /^[\w-]{1,64}$/;
const withoutId = ({ chatId, key, _aws, ...line }: Record<string, unknown>) => ({
  ...line,
  chatId: isId.test(String(chatId)) ? "" : chatId,
  key: typeof key === "string" && key.endsWith(`:${chatId}`) ? key.slice(0, -String(chatId).length) : key,
  route: "",
});

/** The faults of a logged line: it does not fit the schema, or contains something private. */
export function problemsOf(text: string): string[] {
  const line = JSON.parse(text);
  const schema = "_aws" in line ? MetricLine : isOfRequest(line) ? RequestLine : LogLine;
  const issues = schema.safeParse(line).error?.issues ?? [];
  return [
    ...issues.map(({ path, message }) => `${path.join(".")}: ${message} in ${text.slice(0, 1_000)}`),
    ...leaksOf(withoutId(line)).map((leak) => `${leak} stands in ${text.slice(0, 1_000)}`),
  ];
}

/** The private texts in a value, at any depth. */
export function leaksOf(line: unknown): string[] {
  const environment = { ...inject("environment"), ...process.env };
  const keys = secrets.map((name) => environment[name]).filter((value) => value !== undefined && value.length > 10);
  const hidden = [...told, ...keys] as string[];
  return textsOf(line).flatMap((text) => [
    ...shapes.filter((shape) => shape.test(text)).map(String),
    ...hidden.filter((value) => text.includes(value)),
  ]);
}

/** Every text of a line, without names of our own code: the frames of a stack. */
function textsOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  return entriesOf(value).flatMap(([name, inside]) =>
    name === "stack" && Array.isArray(inside) ? inside.filter((frame) => !isFrame(frame)) : textsOf(inside),
  );
}

/** A stack frame in a file of the project or of Node. No text of a chat looks like one by chance. */
const isFrame = (text: string) => /^at (.* \()?(file:|node:|\/|async )[^()]*:\d+:\d+\)?$/.test(text);
