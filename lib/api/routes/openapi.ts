import * as z from "zod";
import { row } from "../route.ts";

export const route = row("openapi", {
  method: "GET",
  path: "/openapi.json",
  hasEtag: true,
  isBare: true,
  summary: "This description of the API",
  message: "OK",
  data: z.looseObject({ openapi: z.string() }),
  memory: "256 MB",
  timeoutSeconds: 5,
});
