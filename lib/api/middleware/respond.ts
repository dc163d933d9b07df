import type { APIGatewayProxyStructuredResultV2 } from "aws-lambda";
import type { Begun } from "../../chat/context.ts";
import { SubaccountId } from "../../chat/schema.ts";
import { type AnswerHead, acceptsGzip, fromText, gzip } from "../../platform/compress.ts";
import { Deadline } from "../../platform/deadline.ts";
import { ApiError } from "../../platform/errors.ts";
import { RequestLog } from "../../platform/logger.ts";
import { docsUrl } from "../../platform/stage.ts";
import type { Download, Middleware, PublicDocument, Reply, RequestState } from "../call.ts";
import { headerOf, namesEtag, valuesOf } from "../headers.ts";
import { defaultTimeoutSeconds, type Route, routeKey } from "../route.ts";

type EnvelopedReply = Exclude<Reply, { document: PublicDocument } | { file: Download }>;

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
/** A shorter body fits into one packet without compression. */
const minGzipBytes = 1_024;
/** After an unknown outcome: a repeat with the key reads at Retell what came of it. */
const unknownRetrySeconds = 5;
let coldStart = true;

/** Runs first and last: sets the request's id, log and deadline, and turns the reply or the error into an answer. */
export function respond(route: Route): Middleware {
  return {
    before: ({ event, context, internal }) => {
      const [asked = "", ...others] = valuesOf(event, "x-operation-id", { normalize: (id) => id.toLowerCase() });
      const operationId = uuid.test(asked) && others.length === 0 ? asked : crypto.randomUUID();
      const { name: operation } = route;
      const requestId = context.awsRequestId;
      const log = new RequestLog({ operationId, requestId, operation, route: routeKey(route), coldStart });
      coldStart = false;

      const { method = "", path = "" } = event?.requestContext?.http ?? {}; // test events of the AWS console have none
      internal.state = {
        startedAt: performance.now(),
        request: { method, path },
        operationId,
        log,
        deadline: new Deadline(context.getRemainingTimeInMillis?.() ?? defaultTimeoutSeconds * 1_000),
        begun: {},
        trailing: [],
        ifNoneMatch: headerOf(event, "if-none-match"),
        acceptsGzip: acceptsGzip(headerOf(event, "accept-encoding")),
        headers: {
          "content-type": "application/json",
          "x-operation-id": operationId,
          "cache-control": "no-store",
          vary: "accept-encoding",
          "x-content-type-options": "nosniff",
        },
      };
    },

    after: async (request) => {
      const { state } = request.internal;
      const reply = request.response as Reply;
      const response = await responseTo(route, state, reply);
      request.response = response;
      finish(state, response.statusCode ?? 200);
    },

    onError: async (request) => {
      const { state } = request.internal;
      await Promise.all(state.trailing);
      const error = asApiError(request.error);
      // Requests that were refused before validation log their subaccount, too.
      state.log.fields.subaccountId ??= SubaccountId.safeParse(request.event?.pathParameters?.subaccountId).data;
      request.response = errorResponse(route, state, error);
      finish(state, error.status, error);
    },
  };
}

async function responseTo(route: Route, state: RequestState, reply: Reply) {
  if ("document" in reply) return documentResponse(state, reply.document);
  return "file" in reply ? fileResponse(state, reply.file) : successResponse(route, state, reply);
}

async function successResponse(
  route: Route,
  state: RequestState,
  reply: EnvelopedReply,
): Promise<APIGatewayProxyStructuredResultV2> {
  const { headers, trailing, operationId } = state;
  const head = reply.answer ?? fromText(headOf(route, reply));
  if (!reply.answer && reply.fill) trailing.push(reply.fill(head));
  await Promise.all(trailing);
  if (!reply.answer && reply.isReplay) headers["idempotent-replayed"] = "true";
  if (route.hasEtag && !reply.meta?.stale) {
    const etag = `"${head.digest().toString("base64url")}"`;
    headers.etag = `W/${etag}`; // weak, as the fields of `meta` that only this request has are not in it
    if (namesEtag(state.ifNoneMatch, etag)) return unchanged(state);
  }

  const own = JSON.stringify({ ...reply.meta, operationId, duration: `${elapsed(state)}ms`, time: Date.now() });
  return { ...withBody(state, head, `${own.slice(1)}}`), statusCode: route.successStatus ?? 200 };
}

/** An answer with this body, compressed if the client accepts it and it is smaller then. */
function withBody(
  { acceptsGzip, headers }: RequestState,
  head: AnswerHead,
  tail: string,
): APIGatewayProxyStructuredResultV2 {
  if (acceptsGzip && head.length >= minGzipBytes) {
    const body = gzip(head.deflated(), tail).toString("base64");
    // Lambda sends base64, so a text that hardly shrinks is sent as it is.
    if (body.length < head.length) {
      headers["content-encoding"] = "gzip";
      return { statusCode: 200, headers, body, isBase64Encoded: true };
    }
  }
  return { statusCode: 200, headers, body: head.text() + tail };
}

/** A 304, which has no body. */
function unchanged({ headers }: RequestState): APIGatewayProxyStructuredResultV2 {
  const { "content-type": _ofTheBody, ...kept } = headers;
  return { statusCode: 304, headers: kept };
}

function documentResponse(state: RequestState, { text, etag }: PublicDocument): APIGatewayProxyStructuredResultV2 {
  Object.assign(state.headers, { etag, "cache-control": "public, max-age=60" });
  if (namesEtag(state.ifNoneMatch, etag)) return unchanged(state);
  return withBody(state, fromText(text), "");
}

function fileResponse(state: RequestState, { name, type, content }: Download): APIGatewayProxyStructuredResultV2 {
  const { headers } = state;
  headers["content-disposition"] = `attachment; filename="${name}"`;
  headers["content-type"] = typeof content === "string" ? `${type}; charset=utf-8` : type;
  if (typeof content === "string") return withBody(state, fromText(content), "");
  return { statusCode: 200, headers, body: content.toString("base64"), isBase64Encoded: true };
}

/** The beginning of the envelope, up to the fields of `meta` that only this request has. It is what the cache stores. */
function headOf({ message }: Route, { data, page = {} }: Extract<EnvelopedReply, { answer?: never }>): string {
  const about = JSON.stringify(page).slice(1, -1);
  return `{"success":true,"message":"${message}","data":${JSON.stringify(data)},"meta":{${about}${about && ","}`;
}

function errorResponse(route: Route, state: RequestState, error: ApiError): APIGatewayProxyStructuredResultV2 {
  const { code, message, errors } = error;
  const details = detailsOf(state.begun, error);
  const isUnknown = details?.outcome === "unknown";
  const retryAfter = error.retryAfter ?? (isUnknown ? unknownRetrySeconds : undefined);
  const headers = { ...state.headers };
  if (retryAfter !== undefined) headers["retry-after"] = String(retryAfter);
  if (code === "ACCESS_TOKEN_REQUIRED" || code === "INVALID_ACCESS_TOKEN") headers["www-authenticate"] = "Bearer";
  if (code === "METHOD_NOT_ALLOWED" && Array.isArray(details?.allow)) headers.allow = details.allow.join(", ");
  const meta = { operationId: state.operationId, operation: route.name, duration: `${elapsed(state)}ms` };
  const page = docsUrl();
  const doc_url = page && `${page}#${code}`;
  return {
    statusCode: error.status,
    headers,
    body: JSON.stringify({ success: false, message, code, doc_url, errors, details, retryAfter, meta }),
  };
}

/** An error's own details, and what the request has begun, whatever the error is. */
function detailsOf({ userMessage, settlesBy }: Begun, { details }: ApiError): Record<string, unknown> | undefined {
  const isUnknown = details?.outcome === "unknown" && settlesBy !== undefined;
  const begun = {
    ...(userMessage ? { user_message: userMessage } : {}),
    ...(isUnknown ? { settles_by: new Date(settlesBy).toISOString() } : {}),
  };
  return details || userMessage ? { ...details, ...begun } : undefined;
}

/** Unexpected errors return a generic message. */
function asApiError(thrown: unknown): ApiError {
  return thrown instanceof ApiError ? thrown : new ApiError("INTERNAL_ERROR", { cause: thrown });
}

function finish({ log, ...state }: RequestState, status: number, error?: ApiError): void {
  state.tenant?.release();
  const { admit, mongo, retell } = log.spent;
  const spent = { admit: Math.round(admit), mongo: Math.round(mongo), retell: Math.round(retell) };
  const outcome = { status, duration: elapsed(state), ...spent, ...(error ? { code: error.code } : {}) };
  log.finish(outcome, error);
}

function elapsed({ startedAt }: Pick<RequestState, "startedAt">): number {
  return Math.round(performance.now() - startedAt);
}
