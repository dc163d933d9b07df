import { answered, type Check, refused, same, Wrong } from "./expect.ts";

const lists = (value: string | undefined, ...wanted: string[]) => {
  const given = (value ?? "").toLowerCase().split(/\s*,\s*/);
  return wanted.filter((name) => !given.includes(name));
};

const isUp = ["health"];
const mayEnter = ["the token"];
const operationId = crypto.randomUUID();

/** The checks that need no chat: refusals, headers, limits. */
export const outside: Check[] = [
  answered("health", [], (api) => api.ask("GET", "/health", { token: null })),
  {
    name: "the token",
    needs: isUp,
    async run(api) {
      const { status, body } = await api.get("list");
      if (status === 401 || status === 403)
        throw new Wrong(`the answer is ${status} ${body?.code}: the token is not valid for this subaccount`);
      return undefined;
    },
  },
  refused(
    "no token",
    isUp,
    (api) => api.get("list", { token: null }),
    401,
    "ACCESS_TOKEN_REQUIRED",
    ({ headers }) => same("www-authenticate", headers.get("www-authenticate"), "Bearer"),
  ),
  refused("a bad token", isUp, (api) => api.get("list", { token: "not.a.token" }), 401, "INVALID_ACCESS_TOKEN"),
  refused(
    "a strange subaccount",
    mayEnter,
    (api) => api.ask("GET", `/api/chats/${"0".repeat(24)}/list`),
    403,
    "PERMISSION_DENIED",
  ),
  refused("a strange chat", mayEnter, (api) => api.get("chat_smoke_nobodys/transcript"), 404, "CHAT_NOT_FOUND"),
  refused("a strange path", isUp, (api) => api.ask("GET", "/api/nothing"), 404, "NOT_FOUND"),
  refused(
    "a wrong method",
    isUp,
    (api) => api.ask("PUT", `/api/chats/${api.subaccountId}/list`),
    405,
    "METHOD_NOT_ALLOWED",
    ({ headers }) => same("allow", headers.get("allow"), "GET"),
  ),
  refused(
    "an invalid body",
    mayEnter,
    (api) => api.post("create", { agentId: "" }),
    400,
    "VALIDATION_ERROR",
    ({ body }) => same("errors' field", body.errors?.[0]?.field, "agentId"),
  ),
  refused("a body that is no JSON", mayEnter, (api) => api.post("create", "{"), 400, "VALIDATION_ERROR"),
  refused(
    "a webhook without a signature",
    isUp,
    (api) => api.ask("POST", `/api/webhooks/retell/${api.subaccountId}`, { token: null, body: {} }),
    401,
    "INVALID_SIGNATURE",
  ),
  answered(
    "a list, and its headers",
    mayEnter,
    (api) => api.get("list", { headers: { "x-operation-id": operationId } }),
    ({ body, headers }) => {
      same("the operationId", body.meta.operationId, operationId);
      same("cache-control", headers.get("cache-control"), "no-store");
      same("meta.count", body.meta.count, body.data.length);
      return `${body.meta.count} chats`;
    },
  ),
  {
    name: "the limits",
    needs: mayEnter,
    async run(api) {
      const { headers } = await api.get("list");
      const [limit = 0, remaining = 0, reset = 0] = ["limit", "remaining", "reset"].map((name) =>
        Number(headers.get(`ratelimit-${name}`) ?? Number.NaN),
      );
      if (!(remaining >= 0 && remaining < limit && reset > 0))
        throw new Wrong("the ratelimit headers are missing or malformed");
      if (headers.get("x-ratelimit-mode")) throw new Wrong("the limits are degraded: the functions do not reach Redis");
      return `${remaining} of ${limit} left`;
    },
  },
  {
    name: "a browser's preflight",
    needs: isUp,
    async run(api) {
      const origin = api.origin ?? "https://app.example";
      const asked = { origin, "access-control-request-method": "POST" };
      const path = `/api/chats/${api.subaccountId}/create`;
      const { status, headers } = await api.ask("OPTIONS", path, { token: null, headers: asked });
      if (status !== 200 && status !== 204) throw new Wrong(`answered ${status}`);
      const allowed = headers.get("access-control-allow-origin") ?? "";
      // The allowed origins are a setting of the stage: without --origin, a refusal is no fault.
      if (!api.origin && allowed === "") return "not tested: use --origin to test a page of yours";
      if (allowed !== "*" && allowed !== origin) throw new Wrong(`the stage does not allow the origin ${origin}`);
      const missing = lists(
        headers.get("access-control-allow-headers") ?? "",
        "authorization",
        "content-type",
        "idempotency-key",
      );
      if (missing.length > 0) throw new Wrong(`the stage does not allow the headers ${missing.join(", ")}`);
      return undefined;
    },
  },
];
