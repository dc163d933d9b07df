import { RequestLog } from "../../lib/platform/logger.ts";

/** A log for code that is called outside of a request. */
export const aLog = (operation: string) =>
  new RequestLog({ operationId: crypto.randomUUID(), requestId: undefined, operation });
