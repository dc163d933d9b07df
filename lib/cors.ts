/**
 * Which pages of other origins may call the API, and what they see of its answers. The origins are a setting of each
 * deployment (`CORS_ORIGINS`). API Gateway speaks CORS itself, here and in AWS: a function's own CORS headers are lost.
 */
export const cors = {
  allowMethods: ["GET", "POST", "OPTIONS"],
  allowHeaders: ["authorization", "content-type", "idempotency-key", "x-operation-id", "prefer"],
  exposeHeaders: [
    "x-operation-id",
    "retry-after",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "x-ratelimit-mode",
    "idempotent-replayed",
    "etag",
  ],
  maxAgeSeconds: 86_400,
};
