import { Logger } from "@aws-lambda-powertools/logger";
import middy from "@middy/core";
import httpJsonBodyParser from "@middy/http-json-body-parser";
import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2 } from "aws-lambda";
import { jwtVerify } from "jose";
import { type Db, MongoClient, ObjectId } from "mongodb";
import Retell from "retell-sdk";
import { z } from "zod";
import { decrypt } from "../../lib/platform/crypto.ts";

/**
 * The same endpoints written in the simplest way: each step is awaited where it is needed, calls to Upstash follow one
 * another, everything is imported at the top, and cached answers are serialized again. It works while nothing fails, and
 * exists only for comparison.
 */
const { MONGODB_URL = "", UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN, RETELL_BASE_URL, JWT_SECRET } = process.env;

const logger = new Logger({ serviceName: "naive" });
const mongo = new MongoClient(MONGODB_URL);
export const redis = new Redis({ url: UPSTASH_REDIS_REST_URL, token: UPSTASH_REDIS_REST_TOKEN });
const perMinute = (name: string, requests: number) =>
  new Ratelimit({
    redis,
    limiter: Ratelimit.slidingWindow(Number(process.env[`RATE_LIMIT_${name.toUpperCase()}`] ?? requests), "60 s"),
    prefix: `naive:${name}`,
  });
const userLimit = perMinute("user", 300);

const Claims = z.object({ id: z.string(), role: z.string() });
const Params = z.object({ subaccountId: z.string().regex(/^[0-9a-f]{24}$/), chatId: z.string().optional() });

export interface Call<Body> {
  subaccountId: string;
  chatId: string;
  query: Record<string, string | undefined>;
  body: Body;
  db: Db;
}

export interface Rules<Body> {
  name: string;
  permission: "read" | "write";
  requests: number;
  body?: z.ZodType<Body>;
}

/** All checks, one after the other, then the endpoint's own work. */
export function endpoint<Body>(rules: Rules<Body>, run: (call: Call<Body>) => Promise<object>) {
  const routeLimit = perMinute(rules.name, rules.requests);
  const handle = async (event: APIGatewayProxyEventV2): Promise<APIGatewayProxyStructuredResultV2> => {
    const startedAt = Date.now();
    const operationId = crypto.randomUUID();
    const token = (event.headers.authorization ?? "").replace("Bearer ", "");
    const claims = Claims.parse((await jwtVerify(token, new TextEncoder().encode(JWT_SECRET))).payload);
    const { subaccountId, chatId = "" } = Params.parse(event.pathParameters);
    const body = rules.body?.parse(event.body) as Body;
    if (!(await userLimit.limit(claims.id)).success) return { statusCode: 429 };

    const subaccount = await mongo
      .db()
      .collection("subaccounts")
      .findOne({ _id: new ObjectId(subaccountId) });
    const membership = await mongo
      .db()
      .collection("usersubaccounts")
      .findOne({ userId: new ObjectId(claims.id), subaccountId: new ObjectId(subaccountId) });
    if (!subaccount?.isActive || !membership?.permissions[rules.permission]) return { statusCode: 403 };
    if (!(await routeLimit.limit(subaccountId)).success) return { statusCode: 429 };

    const db = mongo.db(subaccount.databaseName);
    const { meta, ...answer } = (await run({
      subaccountId,
      chatId,
      query: event.queryStringParameters ?? {},
      body,
      db,
    })) as { meta?: object };
    const duration = `${Date.now() - startedAt}ms`;
    logger.info("Request", { operationId, operation: rules.name, userId: claims.id, subaccountId, chatId, duration });
    return {
      statusCode: 200,
      headers: { "content-type": "application/json", "x-operation-id": operationId },
      body: JSON.stringify({ success: true, ...answer, meta: { operationId, duration, ...meta } }),
    };
  };
  const chain = middy(handle);
  return rules.body ? chain.use(httpJsonBodyParser()) : chain;
}

/** The subaccount's Retell client, created anew for each request. */
export async function retellOf(subaccountId: string) {
  const account = await mongo
    .db()
    .collection("retellaccounts")
    .findOne({ subaccountId: new ObjectId(subaccountId) });
  const apiKey = await decrypt({ text: account?.apiKey }, subaccountId, "retell-salt");
  const { chat } = new Retell({ apiKey, baseURL: RETELL_BASE_URL, maxRetries: 0 });
  return { chat, account: { accountName: account?.accountName, accountId: account?._id.toHexString() } };
}
