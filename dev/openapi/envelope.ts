import * as z from "zod";
import type { Route } from "../../lib/api/route.ts";
import { UserMessage } from "../../lib/chat/schema.ts";
import { errors } from "../../lib/platform/errors.ts";

/** What `middleware/respond.ts` writes around data and errors. Tests hold every answer against it. */
const Meta = z.object({
  operationId: z
    .string()
    .regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
    .meta({ description: "The request's id, as in `X-Operation-Id` and in the logs" }),
  duration: z
    .string()
    .regex(/^\d+ms$/)
    .meta({ description: "How long the API took", example: "12ms" }),
});

const SuccessMeta = Meta.extend({
  time: z.number().int().meta({ description: "The API's clock, epoch milliseconds", example: 1759398000000 }),
});

/** Every answer with status 200, except bare ones. */
export const success = (route: Route) =>
  z.object({
    success: z.literal(true),
    message: z.string().meta({ description: "For people; may change", example: route.message }),
    data: route.data,
    meta: route.meta instanceof z.ZodObject ? SuccessMeta.extend(route.meta.shape) : SuccessMeta,
  });

export const ErrorCode = z.enum(Object.keys(errors) as [keyof typeof errors]).meta({
  description: "Stable: switch on it. Codes may be added, so treat an unknown one by its status",
});

export const FieldError = z.object({
  field: z.string().meta({ description: "Such as `content`, `metadata.a.b`; `body` for the whole body" }),
  in: z.enum(["body", "query", "path", "header"]),
  message: z.string().meta({ description: "What is expected. It never repeats what was sent" }),
});

export const ErrorDetails = z.looseObject({
  outcome: z.enum(["unknown", "undecided"]).optional().meta({
    description: "`unknown`: it may have been done; retry with the key. `undecided`: it cannot be found out any more",
  }),
  turnId: z.string().optional(),
  settles_by: z.iso.datetime().optional().meta({
    description: "Of an unknown outcome: by then it is known, if Retell can be read",
  }),
  user_message: UserMessage.optional().meta({ description: "The message of this request, if it is stored" }),
  requiredPermission: z.string().optional().meta({ description: "Of PERMISSION_DENIED" }),
  effectiveRole: z.string().optional().meta({ description: "Of PERMISSION_DENIED" }),
  limit: z.enum(["user", "subaccount"]).optional().meta({ description: "Of RATE_LIMIT_EXCEEDED: whose limit" }),
  allow: z.array(z.string()).optional().meta({ description: "Of METHOD_NOT_ALLOWED" }),
});

export const ErrorAnswer = z
  .object({
    success: z.literal(false),
    message: z.string().meta({ description: "For people; may change" }),
    code: ErrorCode,
    doc_url: z.url().optional().meta({ description: "The code's explanation, where the deployment has set DOCS_URL" }),
    errors: z.array(FieldError).optional().meta({ description: "Of VALIDATION_ERROR: everything that is wrong" }),
    details: ErrorDetails.optional(),
    retryAfter: z.number().int().optional().meta({ description: "Seconds, as in `Retry-After`" }),
    meta: Meta.extend({ operation: z.string().meta({ description: "The operation's name" }) }),
  })
  .meta({ description: "Every answer that is no success" });

/** What API Gateway writes when it answers by itself. */
export const GatewayAnswer = z.object({ message: z.string() }).meta({
  description: "API Gateway's own answer: no function was asked, or none answered",
  not: { properties: { success: {} }, required: ["success"] },
});
