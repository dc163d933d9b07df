import { SignJWT } from "jose";
import { ObjectId } from "mongodb";
import { describe, expect, it } from "vitest";
import { routes } from "../lib/api/routes.ts";
import { anExport, guarded, rightRequest } from "./support/attack.ts";
import { aChat, aContext, aMembership, aToken, aUser, aWorld, call, central, type Request } from "./support/world.ts";

const world = await aWorld();
const chatId = await aChat(world);
const exportId = await anExport(world);

const subject = { id: world.owner.id, role: "user" };

describe.each(guarded)("%s refuses", (name, route) => {
  const attempt = (changes: Partial<Request>) =>
    call(name, rightRequest(world, chatId, route, { exportId, ...changes }));

  it.each([
    ["no header", {}],
    ["an empty header", { authorization: "" }],
    ["a bare scheme", { authorization: "Bearer" }],
    ["basic credentials", { authorization: `Basic ${btoa("a:b")}` }],
    ["a good token by another scheme", { authorization: `Basic ${world.owner.token}` }],
  ])("%s: 401 ACCESS_TOKEN_REQUIRED", async (_name, headers) => {
    const { status, body, headers: answered } = await attempt({ token: undefined, headers });
    expect([status, body.code]).toEqual([401, "ACCESS_TOKEN_REQUIRED"]);
    expect(answered["www-authenticate"]).toBe("Bearer");
  });

  const bad: [string, () => Promise<string> | string][] = [
    ["what is no token", () => "nonsense"],
    ["two tokens", () => `${world.owner.token},${world.owner.token}`],
    ["another secret", () => aToken(subject, { secret: "x".repeat(64) })],
    ["an expired token", () => aToken(subject, { expires: "-6s" })],
    ["a token without end", () => aToken(subject, { expires: "" })],
    ["a token that is not valid yet", () => aToken({ ...subject, nbf: Math.floor(Date.now() / 1000) + 60 })],
    ["a token without id", () => aToken({ role: "user" })],
    ["an id that is an operator", () => aToken({ id: { $gt: "" } })],
    ["alg none", () => `${btoa('{"alg":"none"}')}.${btoa(JSON.stringify({ ...subject, exp: 9_999_999_999 }))}.`],
    [
      "HS512, which is not configured",
      () =>
        new SignJWT(subject)
          .setProtectedHeader({ alg: "HS512" })
          .setExpirationTime("1h")
          .sign(Buffer.from(process.env.JWT_SECRET ?? "")),
    ],
    [
      "a tampered payload",
      async () =>
        (await aToken(subject)).replace(
          /\.[^.]+\./,
          `.${Buffer.from(JSON.stringify({ ...subject, role: "super_admin", exp: 9_999_999_999 })).toString("base64url")}.`,
        ),
    ],
  ];
  it.each(bad)("%s: 401 INVALID_ACCESS_TOKEN", async (_name, token) => {
    const { status, body, headers } = await attempt({ token: await token() });
    expect([status, body.code]).toEqual([401, "INVALID_ACCESS_TOKEN"]);
    expect(headers["www-authenticate"]).toBe("Bearer");
  });

  it("accepts a token that expired less than 5 s ago, and a sub in place of id", async () => {
    const token = await aToken({ sub: world.owner.id, role: "user" }, { expires: "-2s" });
    expect((await attempt({ token, ...(name === "end" ? { chatId: await aChat(world) } : {}) })).status).toBe(
      route.successStatus ?? 200,
    );
  });

  it.each(["nope", "", "64b0000000000000000000z1", "64b000000000000000000001 ", "{$gt:''}", "%00"])(
    "the subaccountId %j: 400",
    async (subaccountId) => {
      const { status, body } = await attempt({ subaccountId });
      expect([status, body.code, body.errors[0].field]).toEqual([400, "VALIDATION_ERROR", "subaccountId"]);
    },
  );

  if (route.path.includes("{chatId}")) {
    it.each(["a b", ".", "a$b", "x".repeat(129), "ä", ".."])("the chatId %j: 400", async (wrong) => {
      const { status, body } = await attempt({ chatId: wrong });
      expect([status, body.code, body.errors[0].field]).toEqual([400, "VALIDATION_ERROR", "chatId"]);
    });
  }

  it("a stranger, in the same words whether the subaccount exists or not: 403", async () => {
    const { token } = world.stranger;
    const answers = [await attempt({ token }), await attempt({ token, subaccountId: new ObjectId().toHexString() })];
    for (const { status, body } of answers) {
      expect([status, body.code]).toEqual([403, "PERMISSION_DENIED"]);
      expect(body.details).toEqual({ requiredPermission: route.permission, effectiveRole: "none" });
    }
    expect(answers[0]?.body.message).toBe(answers[1]?.body.message);
  });

  it("another tenant's owner: 403", async () => {
    const { owner } = await aWorld();
    expect((await attempt({ token: owner.token })).status).toBe(403);
  });

  it("a member without the flag that it asks for, whatever the role is called: 403", async () => {
    const user = await aUser();
    const others = (["read", "write", "delete", "admin"] as const).filter((flag) => flag !== route.permission);
    await aMembership(world.subaccountId, user.id, others, { role: "owner" });
    const { status, body } = await attempt({ token: user.token });
    expect([status, body.details.effectiveRole]).toEqual([403, "owner"]);
  });

  it.each([
    ["inactive", { isActive: false }],
    ["temporary and over", { temporaryAccess: { enabled: true, expiresAt: new Date(Date.now() - 1_000) } }],
    ["temporary without a readable end", { temporaryAccess: { enabled: true, expiresAt: "tomorrow" } }],
    ["temporary, by a flag of another type", { temporaryAccess: { enabled: "true" } }],
    ["temporary in a form that cannot be read", { temporaryAccess: "until tomorrow" }],
    ["temporary in a list", { temporaryAccess: [{ enabled: true }] }],
  ])("a member whose access is %s: 403", async (_name, more) => {
    const user = await aUser();
    await aMembership(world.subaccountId, user.id, ["read", "write", "delete", "admin"], more);
    const { status, body } = await attempt({ token: user.token });
    expect([status, body.details.effectiveRole]).toEqual([403, "none"]);
  });

  it("a member whose role is no text by the flags alone: 403", async () => {
    const user = await aUser();
    await aMembership(world.subaccountId, user.id, [], { role: { toString: 1 } });
    const { status, body } = await attempt({ token: user.token });
    expect([status, body.details.effectiveRole]).toEqual([403, "unknown"]);
  });

  it("everybody from an inactive subaccount, a super admin too: 403", async () => {
    const closed = await aWorld({ subaccount: { isActive: false } });
    for (const { token } of [closed.owner, world.superAdmin]) {
      expect((await attempt({ token, subaccountId: closed.subaccountId })).status).toBe(403);
    }
  });

  it("members during maintenance, with its message; strangers learn nothing; a super admin passes", async () => {
    const closed = await aWorld({ subaccount: { maintenanceMode: true, maintenanceMessage: "Back at noon" } });
    const { subaccountId } = closed;
    const member = await attempt({ token: closed.owner.token, subaccountId });
    expect([member.status, member.body.message]).toEqual([403, "Back at noon"]);
    const stranger = await attempt({ token: world.stranger.token, subaccountId });
    expect([stranger.status, stranger.body.message]).toEqual([403, "You do not have permission to do this"]);
    const admin = await attempt({ token: closed.superAdmin.token, subaccountId });
    expect(admin.status).not.toBe(403);
  });

  it.each(["true", 1, {}])(
    "members where maintenanceMode is %j: what cannot be read is closed",
    async (maintenanceMode) => {
      const { owner, subaccountId } = await aWorld({ subaccount: { maintenanceMode } });
      const { status, body } = await attempt({ token: owner.token, subaccountId });
      expect([status, body.message]).toEqual([403, "Under maintenance"]);
    },
  );

  it("a super admin from a subaccount that does not exist: 403", async () => {
    const { status } = await attempt({ token: world.superAdmin.token, subaccountId: new ObjectId().toHexString() });
    expect(status).toBe(403);
  });

  it("in the order 401, 400, 403: who calls comes before what is asked", async () => {
    expect((await attempt({ token: undefined, subaccountId: "nope" })).status).toBe(401);
    expect((await attempt({ token: world.stranger.token, subaccountId: "nope" })).status).toBe(400);
  });

  it("a body over 262,144 bytes: 413", async () => {
    const { status, body } = await attempt({ body: `"${"x".repeat(262_143)}"` });
    expect([status, body.code]).toEqual([413, "PAYLOAD_TOO_LARGE"]);
  });
});

/** Ten at a time: all at once, a busy machine would answer some later than a request waits for Redis. */
async function repeated<T>(times: number, ask: () => Promise<T>): Promise<T[]> {
  const answers: T[] = [];
  while (answers.length < times) {
    const some = Math.min(10, times - answers.length);
    answers.push(...(await Promise.all(Array.from({ length: some }, ask))));
  }
  return answers;
}

describe("the limits", () => {
  it("are per endpoint and subaccount; 429 says when to come back", async () => {
    const { routeLimit } = await import("../lib/access/limits.ts");
    const { requests } = routeLimit(routes.list) ?? { requests: 0 };
    const tenant = await aWorld();
    const ask = () => call("list", { token: tenant.owner.token, subaccountId: tenant.subaccountId });
    const answers = await repeated(requests + 1, ask);
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(requests);

    const refused = answers.find(({ status }) => status === 429);
    expect(refused?.body.code).toBe("RATE_LIMIT_EXCEEDED");
    expect(refused?.body.retryAfter).toBeGreaterThanOrEqual(1);
    expect(refused?.body.details).toEqual({ limit: "subaccount" });
    expect(refused?.headers).toMatchObject({
      "retry-after": String(refused?.body.retryAfter),
      "ratelimit-limit": String(requests),
      "ratelimit-remaining": "0",
    });
    const other = await call("transcript", {
      token: tenant.owner.token,
      subaccountId: tenant.subaccountId,
      chatId: "chat_x",
    });
    expect(other.status).toBe(404);
    expect(other.headers["ratelimit-limit"]).toBe("100");
  });

  it("a stranger cannot use up a tenant's limit", async () => {
    const tenant = await aWorld();
    const strangers = await repeated(routes.list.limit.requests + 5, () =>
      call("list", { token: tenant.stranger.token, subaccountId: tenant.subaccountId }),
    );
    expect(strangers.every(({ status }) => status === 403)).toBe(true);
    // Nor one whom this instance knows by now.
    expect((await call("list", { token: tenant.stranger.token, subaccountId: tenant.subaccountId })).status).toBe(403);
    const member = await call("list", { token: tenant.owner.token, subaccountId: tenant.subaccountId });
    expect(member.status).toBe(200);
    expect(member.headers["ratelimit-remaining"]).toBe(String(routes.list.limit.requests - 1));
  });
});

describe("routes that do not exist", () => {
  it("404 NOT_FOUND in our envelope; 405 with Allow where only the method is wrong", async () => {
    const { handler } = await import("../functions/default.ts");
    const { toEvent } = await import("../dev/event.ts");
    const ask = async (method: string, target: string) => {
      const { statusCode, headers, body } = await handler(toEvent({ method, target }), aContext());
      return { status: statusCode, allow: headers?.allow, body: JSON.parse(body ?? "") };
    };
    const list = `/api/chats/${world.subaccountId}/list`;
    expect(await ask("GET", "/nowhere")).toMatchObject({ status: 404, body: { success: false, code: "NOT_FOUND" } });
    expect(await ask("GET", `${list}/`)).toMatchObject({ status: 404 });
    expect(await ask("GET", list.toUpperCase())).toMatchObject({ status: 404 });
    expect(await ask("GET", list.replace("/list", "%2flist"))).toMatchObject({ status: 404, allow: undefined });
    expect(await ask("POST", list)).toMatchObject({ status: 405, allow: "GET", body: { code: "METHOD_NOT_ALLOWED" } });
    expect(await ask("DELETE", "/health")).toMatchObject({ status: 405, allow: "GET, HEAD" });
    expect(await ask("HEAD", list)).toMatchObject({ status: 405, allow: "GET" });
    expect(await ask("HEAD", "/health/")).toMatchObject({ status: 404 });
  });

  it("a browser's preflight gets a 2xx where there is a route, should API Gateway hand it on", async () => {
    const { handler } = await import("../functions/default.ts");
    const { toEvent } = await import("../dev/event.ts");
    const headers = { origin: "https://app.example", "access-control-request-method": "POST" };
    const target = `/api/chats/${world.subaccountId}/create`;
    const ask = async (path: string) =>
      (await handler(toEvent({ method: "OPTIONS", target: path, headers }), aContext())).statusCode;
    expect([await ask(target), await ask("/health"), await ask("/nowhere"), await ask(`${target}/`)]).toEqual([
      200, 200, 404, 404,
    ]);
  });

  it("every error links to its explanation where DOCS_URL is set, also of functions without other settings", async () => {
    process.env.DOCS_URL = "https://docs.example.com/errors";
    try {
      const { handler } = await import("../functions/default.ts");
      const { toEvent } = await import("../dev/event.ts");
      const { body = "" } = await handler(toEvent({ method: "GET", target: "/nowhere" }), aContext());
      expect(JSON.parse(body).doc_url).toBe("https://docs.example.com/errors#NOT_FOUND");
      const refused = await call("list", { token: "x", subaccountId: world.subaccountId });
      expect(refused.body.doc_url).toBe("https://docs.example.com/errors#INVALID_ACCESS_TOKEN");
    } finally {
      delete process.env.DOCS_URL;
    }
    expect((await call("list", { token: "x", subaccountId: world.subaccountId })).body).not.toHaveProperty("doc_url");
  });

  it("GET /health needs no token and tells no secret", async () => {
    const { status, body } = await call("health");
    expect([status, body.data]).toEqual([200, { status: "ok", version: "1.0.0" }]);
  });
});

it("every code of the error table is one that a test provokes", async () => {
  const { errors } = await import("../lib/platform/errors.ts");
  const { readdir, readFile } = await import("node:fs/promises");
  const folder = new URL(".", import.meta.url);
  const files = (await readdir(folder)).filter((file) => file.endsWith(".test.ts"));
  const text = (await Promise.all(files.map((file) => readFile(new URL(file, folder), "utf8")))).join("\n");
  expect(Object.keys(errors).filter((code) => !text.includes(`"${code}"`))).toEqual([]);
});

it("central documents are read by ObjectId: a membership of string ids lets nobody in", async () => {
  const user = await aUser();
  await central.collection("usersubaccounts").insertOne({
    userId: user.id,
    subaccountId: world.subaccountId,
    role: "owner",
    isActive: true,
    permissions: { read: true, write: true, delete: true, admin: true },
  });
  expect((await call("list", { token: user.token, subaccountId: world.subaccountId })).status).toBe(403);
});
