import type { RequestListener } from "node:http";
import { exportJWK, exportSPKI, type GenerateKeyPairResult, generateKeyPair, SignJWT } from "jose";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { aServer } from "./support/issuer.ts";

// A key set beside the secret: this file's instance is configured with both, before anything reads the configuration.
const keys = {
  RS256: await generateKeyPair("RS256"),
  ES256: await generateKeyPair("ES256"),
  EdDSA: await generateKeyPair("EdDSA"),
};
const stray = await generateKeyPair("RS256");
const publicKeys = await Promise.all(
  Object.entries(keys).map(async ([alg, { publicKey }]) => ({ ...(await exportJWK(publicKey)), alg, kid: alg })),
);

const issuer = await aServer((_, response) => {
  response.setHeader("content-type", "application/json").end(JSON.stringify({ keys: publicKeys }));
});
afterAll(() => issuer.close());
Object.assign(process.env, {
  JWT_JWKS_URL: issuer.url,
  JWT_AUDIENCE: "scalai-chat",
  JWT_ADMIN_ISSUERS: "https://trusted.example, https://other.example",
});

const { aToken, aWorld, call } = await import("./support/world.ts");
const { anInstance } = await import("./support/wire.ts");
const world = await aWorld();
const claims = { id: world.owner.id, role: "user", aud: "scalai-chat" };

const sign = (
  payload: Record<string, unknown>,
  alg: string,
  key: GenerateKeyPairResult["privateKey"] | Uint8Array,
  kid = alg,
) => new SignJWT(payload).setProtectedHeader({ alg, kid }).setExpirationTime("1h").sign(key);

const list = (token: string) => call("list", { token, subaccountId: world.subaccountId });

describe("tokens of a key set", () => {
  it.each(Object.entries(keys))("are accepted when signed by its %s key", async (alg, { privateKey }) => {
    expect((await list(await sign(claims, alg, privateKey))).status).toBe(200);
  });

  it("stand beside those of the secret", async () => {
    expect((await list(await aToken(claims))).status).toBe(200);
  });

  it("are refused when signed by another key under a known kid, or under a kid that is not there", async () => {
    for (const kid of ["RS256", "ES256", "unknown"]) {
      expect((await list(await sign(claims, "RS256", stray.privateKey, kid))).body.code).toBe("INVALID_ACCESS_TOKEN");
    }
  });

  it("are refused when a public key is used as an HMAC secret", async () => {
    const pem = new TextEncoder().encode(await exportSPKI(keys.RS256.publicKey));
    expect((await list(await sign(claims, "HS256", pem))).body.code).toBe("INVALID_ACCESS_TOKEN");
  });

  it("are refused for another audience, or none", async () => {
    for (const aud of ["somebody-else", undefined]) {
      const { aud: _, ...rest } = claims;
      const token = await sign({ ...rest, ...(aud ? { aud } : {}) }, "RS256", keys.RS256.privateKey);
      expect((await list(token)).body.code).toBe("INVALID_ACCESS_TOKEN");
    }
  });

  it("mint no super admin, unless their issuer is named as one that may", async () => {
    const admin = { ...claims, id: world.superAdmin.id, role: "super_admin" };
    const by = (iss?: string) => sign({ ...admin, ...(iss ? { iss } : {}) }, "RS256", keys.RS256.privateKey);
    expect((await list(await by())).status).toBe(403);
    expect((await list(await by("https://evil.example"))).status).toBe(403);
    expect((await list(await by("https://trusted.example"))).status).toBe(200);
    expect((await list(await aToken(admin))).status).toBe(200);
  });
});

describe("a token of an earlier secret", () => {
  const secretOf = (name: string) => `${name}-`.repeat(8);
  const [newest, previous, oldest, leaked] = [
    secretOf("newest"),
    secretOf("previous"),
    secretOf("oldest"),
    secretOf("leaked"),
  ] as const;
  const rotated = { JWT_SECRET: newest, JWT_SECRETS_OLD: `${previous}, ${oldest}` };
  const before = { JWT_SECRET: process.env.JWT_SECRET, JWT_SECRETS_OLD: process.env.JWT_SECRETS_OLD };
  afterEach(() => {
    vi.restoreAllMocks();
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });

  /** What an instance with these secrets answers to a token of one secret, and how many signatures it computes. */
  async function answerOf(secrets: Record<string, string>, secret: string, more: object = {}) {
    const instance = await anInstance(secrets);
    const verify = vi.spyOn(crypto.subtle, "verify");
    const token = await aToken({ ...claims, ...more }, { secret });
    const { status, body } = await instance.call("list", { token, subaccountId: world.subaccountId });
    const tried = verify.mock.calls.length;
    verify.mockRestore();
    return [status, body.code, tried];
  }

  it.each([
    ["the newest", newest, [200, undefined, 1]],
    ["the previous", previous, [200, undefined, 2]],
    ["the oldest", oldest, [200, undefined, 3]],
    ["none of them", leaked, [401, "INVALID_ACCESS_TOKEN", 3]],
  ])("is tried with the newest secret first: one of %s", async (_which, secret, answer) => {
    expect(await answerOf(rotated, secret)).toEqual(answer);
  });

  it("is refused once its secret was removed", async () => {
    expect(await answerOf({ ...rotated, JWT_SECRETS_OLD: "" }, previous)).toEqual([401, "INVALID_ACCESS_TOKEN", 1]);
  });

  it("has the rights that it had: also those of a super admin", async () => {
    const admin = { id: world.superAdmin.id, role: "super_admin" };
    expect(await answerOf(rotated, previous, admin)).toEqual([200, undefined, 2]);
  });

  it("is held to the same claims: one that is over is refused", async () => {
    const instance = await anInstance(rotated);
    const token = await aToken({ ...claims, exp: 1 }, { secret: previous, expires: "" });
    expect((await instance.call("list", { token, subaccountId: world.subaccountId })).status).toBe(401);
  });

  it("is accepted while tokens move from a secret to a key set", async () => {
    expect(await answerOf({ JWT_SECRET: "", JWT_SECRETS_OLD: previous }, previous)).toEqual([200, undefined, 1]);
    expect(await answerOf({ JWT_SECRET: "", JWT_SECRETS_OLD: "" }, previous)).toEqual([401, "INVALID_ACCESS_TOKEN", 0]);
  });
});

describe("a key that the issuer has withdrawn", () => {
  afterEach(() => vi.useRealTimers());

  it("is accepted for five minutes at most", async () => {
    const token = await sign(claims, "ES256", keys.ES256.privateKey);
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + 600_000 }); // whatever was read before has expired
    expect((await list(token)).status).toBe(200);
    const withdrawn = publicKeys.splice(1, 1);
    vi.setSystemTime(Date.now() + 299_000);
    expect((await list(token)).status).toBe(200);
    vi.setSystemTime(Date.now() + 1_000);
    expect((await list(token)).body.code).toBe("INVALID_ACCESS_TOKEN");
    publicKeys.splice(1, 0, ...withdrawn);
  });
});

describe("a key set that cannot be had", () => {
  const token = () => sign(claims, "RS256", keys.RS256.privateKey);

  it.each<[string, RequestListener]>([
    ["is refused", (_, response) => response.writeHead(500).end()],
    ["is nonsense", (_, response) => response.end("<html>")],
    ["is no key set", (_, response) => response.end('{"keys": 7}')],
    ["is cut off", (request) => request.socket.destroy()],
  ])("because it %s: 503, not a bad token", async (_name, answer) => {
    const broken = await aServer(answer);
    vi.resetModules(); // an instance of its own, that has no keys yet
    process.env.JWT_JWKS_URL = broken.url;
    const { handler } = await import("../functions/list.ts");
    const { invoke } = await import("./support/world.ts");
    const { status, body } = await invoke(handler as never, "list", {
      token: await token(),
      subaccountId: world.subaccountId,
    });
    broken.close();
    process.env.JWT_JWKS_URL = issuer.url;
    expect([status, body.code]).toEqual([503, "CONNECTION_FAILED"]);
  });
});
