/** A query of CloudWatch Logs Insights, and the logs that it searches. Placeholders are in `<…>`. */
export interface Query {
  logs: "functions" | "gateway";
  text: string;
}

const isRequest = "ispresent(status) and ispresent(operation)";

/** The queries that a deployment saves, by name. The period is chosen in the console. */
export const queries = {
  "One request": {
    logs: "functions",
    text: `
fields @timestamp, level, operation, message, status, code, duration, admit, mongo, retell, turn, outcome, settledBy,
  retellStatus, retellError, chatId, requestId, reason.name, reason.message, reason.cause.name, reason.cause.message,
  reason.cause.stack.0, reason.cause.stack.1, reason.cause.stack.2
| filter operationId = "<operationId>" and ispresent(level)
| sort @timestamp`,
  },
  "One request at the gateway": {
    logs: "gateway",
    text: `
fields @timestamp, route, status, duration, functionDuration, functionStatus, error, bytes, ip
| filter functionRequestId = "<requestId>"`,
  },
  "Slowest requests": {
    logs: "functions",
    text: `
fields @timestamp, operation, duration, admit, mongo, retell, coldStart, status, code, operationId, chatId
| filter ${isRequest}
| sort duration desc
| limit 50`,
  },
  "Response times by endpoint": {
    logs: "functions",
    text: `
filter ${isRequest}
| stats count(*) as requests, pct(duration, 50) as p50, pct(duration, 95) as p95, max(duration) as slowest,
  pct(admit, 95) as admitP95, pct(mongo, 95) as mongoP95, pct(retell, 95) as retellP95 by operation
| sort p95 desc`,
  },
  "Errors by code": {
    logs: "functions",
    text: `
filter ispresent(code)
| stats count(*) as errors by code, status, operation
| sort errors desc`,
  },
  "Errors by subaccount": {
    logs: "functions",
    text: `
filter ispresent(code)
| stats count(*) as errors by subaccountId, code, status, retellStatus, operation
| sort errors desc`,
  },
  "Worst subaccounts": {
    logs: "functions",
    text: `
filter ispresent(subaccountId) and (status >= 500 or ispresent(tenantCause))
| stats count(*) as failures, latest(tenantCause) as cause, latest(code) as lastCode, latest(operation) as lastOperation,
  latest(retellStatus) as retellSaid, max(@timestamp) as lastAt by subaccountId
| sort failures desc
| limit 20`,
  },
  "One chat's life": {
    logs: "functions",
    text: `
fields @timestamp, operation, level, message, status, code, turn, outcome, event, duration, userId, operationId
| filter chatId = "<chatId>"
| sort @timestamp`,
  },
  "Deleted chats": {
    logs: "functions",
    text: `
fields @timestamp, subaccountId, chatId, userId, operationId
| filter operation = "delete" and status < 300
| sort @timestamp desc
| limit 1000`,
  },
  "One user's requests": {
    logs: "functions",
    text: `
fields @timestamp, operation, status, code, duration, subaccountId, chatId, cache, operationId
| filter userId = "<userId>" and ${isRequest}
| sort @timestamp desc
| limit 1000`,
  },
  "Cache hit rate": {
    logs: "functions",
    text: `
filter ispresent(cache) and ${isRequest}
| stats 100 * sum(strcontains(cache, "hit")) / count(*) as hitRate, count(*) as reads by operation`,
  },
  "Degraded rate limits": {
    logs: "functions",
    text: `
filter limits = "degraded" and ${isRequest}
| stats count(*) as requests by bin(5m), operation`,
  },
  "Cold starts": {
    logs: "functions",
    text: `
filter coldStart = 1 and ${isRequest}
| stats count(*) as coldStarts, pct(duration, 50) as p50, pct(duration, 95) as p95 by operation, bin(1h)`,
  },
  "Open turns": {
    logs: "functions",
    text: `
filter message = "A turn is still open"
| stats max(openSeconds) as age, latest(retellStatus) as retellSaid, latest(retellError) as failedBy,
  latest(reason.message) as because by subaccountId, chatId, turnId, operationId
| sort age desc`,
  },
  "Turns settled later": {
    logs: "functions",
    text: `
fields @timestamp, operation, outcome, chatId, turnId, operationId, settledBy
| filter message = "Turn settled"
| sort @timestamp desc
| limit 200`,
  },
} satisfies Record<string, Query>;
