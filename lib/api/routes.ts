import { routeNames } from "../chat/schema.ts";
import type { Route } from "./route.ts";
import { route as analytics } from "./routes/analytics.ts";
import { route as create } from "./routes/create.ts";
import { route as fallback } from "./routes/default.ts";
import { route as deleteChat } from "./routes/delete.ts";
import { route as end } from "./routes/end.ts";
import { route as exportChat } from "./routes/export.ts";
import { route as exportsCancel } from "./routes/exports-cancel.ts";
import { route as exportsCreate } from "./routes/exports-create.ts";
import { route as exportsGet } from "./routes/exports-get.ts";
import { route as exportsList } from "./routes/exports-list.ts";
import { route as health } from "./routes/health.ts";
import { route as list } from "./routes/list.ts";
import { route as message } from "./routes/message.ts";
import { route as openapi } from "./routes/openapi.ts";
import { route as search } from "./routes/search.ts";
import { route as transcript } from "./routes/transcript.ts";
import { route as webhook } from "./routes/webhook.ts";

/**
 * The API: who may call what, how often, and with which input. `sst.config.ts` deploys this table, `dev/gateway.ts`
 * serves it, `test/refusals.test.ts` tests it. A new endpoint is a row in routes/, a line here, and a file in functions/
 * of the same name. A function imports its own row alone, so that it does not grow with the others.
 */
export const routes = {
  create,
  message,
  end,
  list,
  search,
  transcript,
  export: exportChat,
  analytics,
  delete: deleteChat,
  "exports-create": exportsCreate,
  "exports-list": exportsList,
  "exports-get": exportsGet,
  "exports-cancel": exportsCancel,
  webhook,
  health,
  openapi,
  default: fallback,
};

/** The methods of the routes that match a path; none where there is no such route. */
export function methodsOf(path: string): string[] {
  return Object.values<Route>(routes)
    .filter((route) => patternOf(route).test(path))
    .flatMap(({ method, answersHead }) => (answersHead ? [method, "HEAD"] : [method]));
}

/** A name of the API's own routes is no chat's id. */
function patternOf({ path }: Route): RegExp {
  const parameter = (name: string) => (name === "{chatId}" ? `(?!(${routeNames.join("|")})(/|$))[^/]+` : "[^/]+");
  return new RegExp(`^${path.replaceAll(".", "\\.").replace(/\{\w+\}/g, parameter)}$`);
}
