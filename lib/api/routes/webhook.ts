import * as z from "zod";
import { InSubaccount } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("webhook", {
  method: "POST",
  path: "/api/webhooks/retell/{subaccountId}",
  summary: "What Retell tells of a chat afterwards: started, ended, analyzed",
  message: "Webhook received",
  signed: true,
  params: InSubaccount,
  data: z.object({ received: z.literal(true) }),
  memory: "1024 MB",
});
