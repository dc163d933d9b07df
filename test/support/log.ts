import { RequestLog } from "../../lib/platform/logger.ts";

/** The log of a request that no test has made. */
export const aLog = (operation: string) =>
  new RequestLog({ operationId: crypto.randomUUID(), requestId: undefined, operation });
