import type { TenantContext } from "../access/tenant.ts";
import type { Deadline } from "../platform/deadline.ts";
import type { RetellClient } from "../retell/client.ts";
import type { UserMessage } from "./schema.ts";

/** What a request has begun. It is told with whatever error the request ends with. */
export interface Begun {
  /** The message that is stored. */
  userMessage?: UserMessage;
  /** Until when it is known what came of it, if it becomes unknown, epoch ms. */
  settlesBy?: number;
}

/** One chat of a tenant, and the Retell client of that tenant. */
export interface ChatContext {
  tenant: TenantContext;
  chatId: string;
  retell: RetellClient;
}

/** Where a message is sent, and until when. */
export interface SendContext extends ChatContext {
  deadline: Deadline;
  begun: Begun;
}
