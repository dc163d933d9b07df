import type { Route } from "../../lib/api/route.ts";
import { type ErrorCode, errors } from "../../lib/platform/errors.ts";
import recorded from "./examples.json" with { type: "json" };
import { whenOf } from "./prose.ts";
import { reference } from "./schemas.ts";

type Status = number;

/** Codes that have a second status. */
const otherStatus: Partial<Record<ErrorCode, Status>> = { MESSAGE_SEND_FAILED: 504 };

/** What the middleware and the calls to Retell answer, besides the codes in the route's row. */
function codesOf(route: Route): ErrorCode[] {
  return [
    ...(route.permission ? guardedCodes : []),
    ...(route.signed ? signedCodes : []),
    ...(route.usesRetell ? accountCodes : []),
    ...(route.errors ?? []),
    "INTERNAL_ERROR",
    "TIMEOUT",
  ];
}

const guardedCodes: ErrorCode[] = [
  "VALIDATION_ERROR",
  "ACCESS_TOKEN_REQUIRED",
  "INVALID_ACCESS_TOKEN",
  "PERMISSION_DENIED",
  "PAYLOAD_TOO_LARGE",
  "RATE_LIMIT_EXCEEDED",
  "SUBACCOUNT_PAUSED",
  "CONNECTION_FAILED",
];
const signedCodes: ErrorCode[] = ["INVALID_SIGNATURE", "RATE_LIMIT_EXCEEDED", "SUBACCOUNT_PAUSED", "CONNECTION_FAILED"];
const accountCodes: ErrorCode[] = ["RETELL_ACCOUNT_INACTIVE", "RETELL_FETCH_FAILED", "API_KEY_DECRYPTION_ERROR"];

/** What API Gateway answers by itself, for every route. */
const gatewayAnswers: Record<Status, string> = {
  413: "a body over 10 MB, or an event over Lambda's 6 MB",
  429: "throttling",
  431: "headers over 10 kB",
  500: "a function that could not run or was stopped",
  503: "no answer after 30 s, or no capacity",
};

/** Headers of answers, by their component's name. */
export const headers = {
  XOperationId: {
    description: "The request's id, as in `meta.operationId`",
    schema: { type: "string", format: "uuid" },
  },
  Date: { description: "When API Gateway answered", schema: { type: "string" } },
  RateLimitLimit: {
    description: "The tighter of the user's and the subaccount's limit, in requests per minute",
    schema: { type: "integer", minimum: 1 },
  },
  RateLimitRemaining: {
    description: "How many more requests that limit allows now",
    schema: { type: "integer", minimum: 0 },
  },
  RateLimitReset: { description: "Seconds until the window ends", schema: { type: "integer", minimum: 1 } },
  XRateLimitMode: {
    description: "`degraded`: Redis is unavailable, and limits are a tenth per instance",
    schema: { type: "string", enum: ["degraded"] },
  },
  RetryAfter: { description: "Seconds until a retry makes sense", schema: { type: "integer", minimum: 0 } },
  IdempotentReplayed: {
    description: "`true`: the answer of an earlier request with the same key",
    schema: { type: "string", enum: ["true"] },
  },
  ETag: { description: "For If-None-Match. Absent while the answer is stale", schema: { type: "string" } },
  CacheControl: { description: "How long the answer may be kept", schema: { type: "string" } },
  ContentDisposition: { description: "The name under which to save the file", schema: { type: "string" } },
  WWWAuthenticate: {
    description: "With every 401 that concerns the token",
    schema: { type: "string", enum: ["Bearer"] },
  },
};

/** The names on the wire of the headers above. */
const wireNames: Record<keyof typeof headers, string> = {
  XOperationId: "X-Operation-Id",
  Date: "Date",
  RateLimitLimit: "RateLimit-Limit",
  RateLimitRemaining: "RateLimit-Remaining",
  RateLimitReset: "RateLimit-Reset",
  XRateLimitMode: "X-RateLimit-Mode",
  RetryAfter: "Retry-After",
  IdempotentReplayed: "Idempotent-Replayed",
  ETag: "ETag",
  CacheControl: "Cache-Control",
  ContentDisposition: "Content-Disposition",
  WWWAuthenticate: "WWW-Authenticate",
};

const limitHeaders = ["RateLimitLimit", "RateLimitRemaining", "RateLimitReset", "XRateLimitMode"] as const;

function headersOf(route: Route, status: Status, codes: ErrorCode[]): object {
  const names: (keyof typeof headers)[] = ["XOperationId", "Date"];
  if (route.permission && status !== 401) names.push(...limitHeaders);
  if (status < 400) names.push("CacheControl", ...(route.hasEtag ? (["ETag"] as const) : []));
  if (status === (route.successStatus ?? 200) && route.idempotent) names.push("IdempotentReplayed");
  if (status === 200 && route.mediaTypes) names.push("ContentDisposition");
  if ([409, 429, 503, 504].includes(status)) names.push("RetryAfter");
  if (codes.includes("INVALID_ACCESS_TOKEN")) names.push("WWWAuthenticate");
  return Object.fromEntries(names.map((name) => [wireNames[name], { $ref: `#/components/headers/${name}` }]));
}

/** What the API has answered: test/openapi-examples.test.ts records it. */
const answers: Partial<Record<string, object>> = recorded.answers;

/** An example of each error, by its code. */
export const examples = Object.fromEntries(
  Object.entries(recorded.errors).map(([code, value]) => [code, { summary: value.message, value }]),
);

const exampleOf = ({ name }: Route) => (answers[name] ? { example: answers[name] } : {});

function examplesOf(codes: ErrorCode[]): object {
  const known = codes.filter((code) => code in examples);
  if (known.length === 0) return {};
  return { examples: Object.fromEntries(known.map((code) => [code, { $ref: `#/components/examples/${code}` }])) };
}

/** Every answer of a route by its status. `schema` is that of a success. */
export function answersOf(route: Route, schema: object, links: object): Record<string, object> {
  const byStatus = new Map<Status, ErrorCode[]>(Object.keys(gatewayAnswers).map((status) => [Number(status), []]));
  for (const code of codesOf(route)) {
    const other = otherStatus[code];
    for (const status of [errors[code].status, ...(other ? [other] : [])]) {
      byStatus.set(status, [...new Set([...(byStatus.get(status) ?? []), code])]);
    }
  }
  const failures = [...byStatus].sort(([one], [other]) => one - other);
  const { successStatus = 200 } = route;
  return {
    [successStatus]: {
      description: route.message,
      headers: headersOf(route, successStatus, []),
      content: contentOf(route, schema),
      ...(Object.keys(links).length > 0 ? { links } : {}),
    },
    ...(route.hasEtag
      ? { 304: { description: "The client has this answer", headers: headersOf(route, 304, []) } }
      : {}),
    ...Object.fromEntries(failures.map(([status, codes]) => [status, failure(route, status, codes)])),
  };
}

/** The schema of JSON, or that of each media type of a file. */
function contentOf(route: Route, schema: object): object {
  const json = { schema, ...exampleOf(route) };
  const types = route.mediaTypes ?? ["application/json"];
  return Object.fromEntries(types.map((type) => [type, type === "application/json" ? json : { schema: fileOf(type) }]));
}

const fileOf = (type: string) => ({ type: "string", ...(type.startsWith("text/") ? {} : { format: "binary" }) });

function failure(route: Route, status: Status, codes: ErrorCode[]): object {
  const ours = { allOf: [reference("ErrorAnswer"), { type: "object", properties: { code: { enum: codes } } }] };
  const theirs = gatewayAnswers[status];
  const kinds = [...(codes.length > 0 ? [ours] : []), ...(theirs ? [reference("GatewayAnswer")] : [])];
  const lines = [
    ...codes.map((code) => `\`${code}\`: ${whenOf(code, status) || errors[code].message}`),
    ...(theirs ? [`API Gateway's own answer: ${theirs}`] : []),
  ];
  return {
    description: lines.join("\n\n"),
    headers: codes.length > 0 ? headersOf(route, status, codes) : {},
    content: { "application/json": { schema: kinds.length > 1 ? { anyOf: kinds } : kinds[0], ...examplesOf(codes) } },
  };
}
