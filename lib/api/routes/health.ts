import * as z from "zod";
import { row } from "../route.ts";

export const route = row("health", {
  method: "GET",
  path: "/health",
  answersHead: true,
  summary: "Whether the API is up",
  message: "OK",
  data: z.object({ status: z.literal("ok"), version: z.string() }),
  memory: "256 MB",
  timeoutSeconds: 5,
});
