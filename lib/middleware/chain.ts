import type { MiddlewareObj, Request } from "@middy/core";
import type { APIGatewayProxyEventV2, APIGatewayProxyStructuredResultV2, Context } from "aws-lambda";
import type { Progress, Reply } from "../route.ts";

export type ChatEvent = APIGatewayProxyEventV2;
export type ChatResult = Reply | APIGatewayProxyStructuredResultV2;
export type Internal = { progress: Progress };

/** One invocation on its way through the chain; what the rules learn of it stands in `internal.progress`. */
export type ChatRequest = Request<ChatEvent, ChatResult, Error, Context, Internal>;

/** One rule of the chain, as Middy takes it. */
export type Rule = MiddlewareObj<ChatEvent, ChatResult, Error, Context, Internal>;
