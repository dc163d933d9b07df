import * as z from "zod";
import { row } from "../route.ts";

export const route = row("default", {
  method: "ANY",
  path: "$default",
  summary: "Whatever no other route matches",
  message: "OK",
  data: z.object({ allow: z.array(z.string()) }),
  memory: "256 MB",
  timeoutSeconds: 5,
});
