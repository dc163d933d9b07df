import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import type { RetellClient } from "../retell/client.ts";

/** One chat of a tenant, and the Retell client of that tenant. */
export interface ChatContext {
  tenant: TenantContext;
  chatId: string;
  retell: RetellClient;
}

/** Where a message is sent, and until when. */
export interface SendContext extends ChatContext {
  deadline: Deadline;
}
