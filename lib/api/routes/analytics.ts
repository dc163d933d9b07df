import { Analytics, AnalyticsMeta, AnalyticsQuery } from "../../chat/analytics/schema.ts";
import { InSubaccount } from "../../chat/schema.ts";
import { row } from "../route.ts";

export const route = row("analytics", {
  method: "GET",
  path: "/api/chats/{subaccountId}/analytics",
  summary: "Sums over a subaccount's chats: how many, how long, how successful, what they cost",
  message: "Analytics retrieved successfully",
  permission: "read",
  limit: { requests: 50, perSeconds: 60 },
  params: InSubaccount,
  query: AnalyticsQuery,
  data: Analytics,
  meta: AnalyticsMeta,
  errors: ["ANALYTICS_FAILED"],
  memory: "1024 MB",
});
