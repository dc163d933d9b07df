import type { APIGatewayProxyEventV2, Context } from "aws-lambda";
import type { Route } from "../../lib/api/route.ts";

/** The handler that a file in functions/ exports. Its result may be anything: `toAnswer` checks it as API Gateway does. */
export type LambdaHandler = (event: APIGatewayProxyEventV2, context: Context) => unknown;

/** How an invocation ended, as API Gateway sees it. */
export type Outcome =
  | { kind: "returned"; result: unknown }
  | { kind: "failed" }
  | { kind: "event too large" }
  | { kind: "gave up" };

/** Where handlers come from and how long they may take. */
export interface Invoker {
  /** By route name, in place of functions/. */
  handlers: Partial<Record<string, LambdaHandler>>;
  /** When Lambda ends a function. */
  functionMs: number;
  /** When API Gateway stops waiting for it. */
  integrationMs: number;
}

/** Lambda's limit for an event and for a result, both as JSON: 6 MB and 100 bytes. */
export const PAYLOAD_BYTES = 6_291_556;
/** A body of this length fits in any case: JSON writes a character as at most six bytes. */
const SURELY_FITS = PAYLOAD_BYTES / 8;

const day = new Date().toISOString().slice(0, 10).replaceAll("-", "/");
const instance = crypto.randomUUID().replaceAll("-", "");

/**
 * Runs a function as Lambda does for API Gateway, except that a handler whose time is up cannot be stopped: it
 * continues, and its result is dropped.
 */
export async function invoke(invoker: Invoker, route: Route, event: APIGatewayProxyEventV2): Promise<Outcome> {
  if ((event.body?.length ?? 0) > SURELY_FITS && Buffer.byteLength(JSON.stringify(event)) > PAYLOAD_BYTES) {
    return { kind: "event too large" };
  }
  try {
    const handler = invoker.handlers[route.name] ?? (await load(route.name));
    return await inTime(invoker, route, () => handler(event, contextOf(route, invoker.functionMs)));
  } catch (error) {
    console.error(`${route.name}:`, error);
    return { kind: "failed" };
  }
}

async function inTime({ functionMs, integrationMs }: Invoker, { name }: Route, run: () => unknown): Promise<Outcome> {
  const { promise: timeUp, resolve } = Promise.withResolvers<Outcome>();
  const end = setTimeout(() => {
    console.error(`${name}: Task timed out after ${(functionMs / 1000).toFixed(2)} seconds`);
    resolve({ kind: "failed" });
  }, functionMs);
  const giveUp = setTimeout(() => resolve({ kind: "gave up" }), integrationMs);
  try {
    const returned = async (): Promise<Outcome> => ({ kind: "returned", result: await run() });
    return await Promise.race([returned(), timeUp]);
  } finally {
    clearTimeout(end);
    clearTimeout(giveUp);
  }
}

/** Node caches imported modules, so this takes time once, like a cold start. */
async function load(name: string): Promise<LambdaHandler> {
  const { handler } = await import(new URL(`../../functions/${name}.ts`, import.meta.url).href);
  return handler;
}

function contextOf({ name, memory }: Route, functionMs: number): Context {
  const deadline = performance.now() + functionMs;
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: name,
    functionVersion: "$LATEST",
    invokedFunctionArn: `arn:aws:lambda:us-east-1:123456789012:function:${name}`,
    memoryLimitInMB: String(Number.parseInt(memory, 10)),
    awsRequestId: crypto.randomUUID(),
    logGroupName: `/aws/lambda/${name}`,
    logStreamName: `${day}/[$LATEST]${instance}`,
    getRemainingTimeInMillis: () => Math.max(0, Math.floor(deadline - performance.now())),
    done: gone,
    fail: gone,
    succeed: gone,
  };
}

function gone(): never {
  throw new Error("Lambda's Node 24 supports no callbacks: return a promise");
}
