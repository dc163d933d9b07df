import "./support/own-retell.ts";
import "./support/unlimited.ts";
import { constants, createHmac, generateKeyPairSync, sign } from "node:crypto";
import { exportJWK } from "jose";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { errors } from "../lib/platform/errors.ts";
import { guarded, rightRequest, shown, stateOf } from "./support/attack.ts";
import { aServer } from "./support/issuer.ts";

// Instances that trust a key set, one beside the secret and one alone; and a server that nobody should ask for keys.
const issuer = "https://issuer.example";
const audience = "scalai-chat";
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
const evil = generateKeyPairSync("rsa", { modulusLength: 2048 });
// Without an alg, as RFC 7517 allows: only our own list says which algorithms this key may be used with.
const jwk = { ...(await exportJWK(rsa.publicKey)), kid: "rsa" };
const publicKeys: object[] = [jwk, { ...(await exportJWK(ec.publicKey)), alg: "ES256", kid: "ec" }];

let fetches = 0;
const keySet = await aServer((_, response) => {
  fetches += 1;
  response.setHeader("content-type", "application/json").end(JSON.stringify({ keys: publicKeys }));
});
let strayFetches = 0;
const stray = await aServer((_, response) => {
  strayFetches += 1;
  response.end();
});
afterAll(() => {
  for (const { close } of [keySet, stray]) close();
});
afterEach(() => {
  vi.useRealTimers();
});

const secret = process.env.JWT_SECRET ?? "";
Object.assign(process.env, { JWT_JWKS_URL: keySet.url, JWT_ISSUER: issuer, JWT_AUDIENCE: audience });
const { anInstance } = await import("./support/wire.ts");
const { aChat, aToken, aWorld } = await import("./support/world.ts");
const world = await aWorld();
const claims = { id: world.owner.id, role: "user", iss: issuer, aud: audience };
world.owner.token = await aToken(claims);
const chatId = await aChat(world);

const both = await anInstance();
const keySetOnly = await anInstance({ JWT_SECRET: "" });
process.env.JWT_SECRET = secret;

const exp = Math.floor(Date.now() / 1_000) + 3_600;
const encoded = (value: unknown) =>
  Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const unsigned = (header: unknown, payload: unknown = { ...claims, exp }) => `${encoded(header)}.${encoded(payload)}`;

/** A token of any header and payload, texts as given, signed as HS256 asks. */
function hmac(key: string | Uint8Array, header: unknown = { alg: "HS256" }, payload?: unknown): string {
  const text = unsigned(header, payload);
  return `${text}.${createHmac("sha256", key).update(text).digest("base64url")}`;
}

/** The same by the issuer's own RSA key, or another. */
function rs256(header: object = {}, payload?: unknown, key = rsa.privateKey): string {
  const text = unsigned({ alg: "RS256", kid: "rsa", ...header }, payload);
  return `${text}.${sign("sha256", Buffer.from(text), key).toString("base64url")}`;
}

/** On every endpoint, of both instances: 401, and nothing more is said. That nothing has happened is seen after each test. */
async function expectRefused(request: object, code: keyof typeof errors = "INVALID_ACCESS_TOKEN"): Promise<void> {
  for (const { call } of [both, keySetOnly]) {
    for (const [name, route] of guarded) {
      expect(shown(await call(name, rightRequest(world, chatId, route, request)))).toEqual({
        status: 401,
        headers: {
          "cache-control": "no-store",
          "content-type": "application/json",
          vary: "accept-encoding",
          "www-authenticate": "Bearer",
          "x-content-type-options": "nosniff",
        },
        body: { success: false, message: errors[code].message, code, meta: { operation: name } },
      });
    }
  }
}

const before = await stateOf(world);
afterEach(async () => {
  expect(await stateOf(world)).toEqual(before);
  expect(strayFetches).toBe(0);
});

it("what these attacks start from is accepted: else their refusal proves nothing", async () => {
  const list = { subaccountId: world.subaccountId };
  expect((await both.call("list", { ...list, token: hmac(secret) })).status).toBe(200);
  for (const { call } of [both, keySetOnly]) expect((await call("list", { ...list, token: rs256() })).status).toBe(200);
});

describe("a token by another algorithm is refused:", () => {
  const pem = rsa.publicKey.export({ type: "spki", format: "pem" }).toString();
  it.each<[string, string | Uint8Array]>([
    ["PEM", pem],
    ["PEM without its last line break", pem.trimEnd()],
    ["PEM of the older form", rsa.publicKey.export({ type: "pkcs1", format: "pem" }).toString()],
    ["DER", rsa.publicKey.export({ type: "spki", format: "der" })],
    ["JWK as the key set shows it", JSON.stringify(jwk)],
    ["JWK of the bare key", JSON.stringify(rsa.publicKey.export({ format: "jwk" }))],
    ["modulus as text", String(jwk.n)],
    ["modulus in bytes", Buffer.from(String(jwk.n), "base64url")],
  ])("HS256 with the public key as secret: %s", async (_form, key) => {
    for (const kid of [{}, { kid: "rsa" }]) await expectRefused({ token: hmac(key, { alg: "HS256", ...kid }) });
  });

  it.each(["none", "None", "NONE", "nOnE", "", "hs256", "HS256 ", "HS384", "RS384", "PS256", "dir"])(
    "alg %j",
    async (alg) => {
      const text = unsigned({ alg, kid: "rsa" });
      for (const end of [".", "", `.${hmac(secret).split(".")[2]}`, `.${rs256().split(".")[2]}`]) {
        await expectRefused({ token: text + end });
      }
      await expectRefused({ token: hmac(secret, { alg }) });
      await expectRefused({ token: rs256({ alg }) });
    },
  );

  it.each([null, 7, ["HS256"], { $ne: "none" }, undefined])("alg that is no text: %j", async (alg) => {
    await expectRefused({ token: hmac(secret, { alg }) });
    await expectRefused({ token: rs256({ alg }) });
  });

  it("RS384, RS512 and PS256, signed well by the issuer's own key", async () => {
    for (const [alg, digest, padding] of [
      ["RS384", "sha384", constants.RSA_PKCS1_PADDING],
      ["RS512", "sha512", constants.RSA_PKCS1_PADDING],
      ["PS256", "sha256", constants.RSA_PKCS1_PSS_PADDING],
    ] as const) {
      const text = unsigned({ alg, kid: "rsa" });
      const key = { key: rsa.privateKey, padding, ...(alg === "PS256" ? { saltLength: 32 } : {}) };
      await expectRefused({ token: `${text}.${sign(digest, Buffer.from(text), key).toString("base64url")}` });
    }
  });

  it("the secret under the key set's algorithm, and an RSA key under that of a curve", async () => {
    await expectRefused({ token: hmac(secret, { alg: "RS256", kid: "rsa" }) });
    await expectRefused({ token: rs256({ alg: "ES256" }) });
  });

  it.each(['{"alg":"none","alg":"HS256"}', '{"alg":"HS256","alg":"none"}', '{"alg":"HS256","\\u0061lg":"none"}'])(
    "a header that says it twice: %s",
    async (header) => {
      await expectRefused({ token: `${unsigned(header)}.` });
      await expectRefused({ token: hmac("another secret", header) });
    },
  );
});

describe("a token by another key is refused:", () => {
  const byEvil = (header: object = {}) => rs256(header, undefined, evil.privateKey);

  it("under a known kid, under the kid of a key of another kind, and without one", async () => {
    for (const kid of ["rsa", "ec", undefined]) await expectRefused({ token: byEvil({ kid }) });
    await expectRefused({ token: rs256({ kid: "ec" }) });
  });

  it("whatever its header brings along: nobody is asked for a key", async () => {
    const own = evil.publicKey.export({ format: "jwk" });
    const x5c = [evil.publicKey.export({ type: "spki", format: "der" }).toString("base64")];
    for (const header of [
      { jwk: own },
      { jku: stray.url },
      { x5u: stray.url },
      { x5c },
      { jwk: own, kid: undefined },
    ]) {
      await expectRefused({ token: byEvil(header) });
    }
  });

  it.each(["../../../../dev/null", "' OR 1=1 --", "__proto__", "constructor", "x".repeat(5_000), 7, { $ne: "" }])(
    "under the kid %j",
    async (kid) => expectRefused({ token: byEvil({ kid }) }),
  );

  it("and unknown kids make the key set be fetched twice in half a minute, however many they are", async () => {
    const instance = await anInstance();
    const ask = (token: string) => instance.call("list", { token, subaccountId: world.subaccountId });
    fetches = 0;
    for (let i = 0; i < 40; i++) expect((await ask(byEvil({ kid: `k${i}` }))).status).toBe(401);
    await Promise.all([...Array(40).keys()].map((i) => ask(byEvil({ kid: `s${i}` }))));
    expect(fetches).toBe(1);

    vi.useFakeTimers({ now: Date.now() + 31_000, toFake: ["Date"] });
    await Promise.all([...Array(40).keys()].map((i) => ask(byEvil({ kid: `t${i}` }))));
    expect(fetches).toBeLessThanOrEqual(2);
    // A key that is new in the set is known by then.
    const rotated = generateKeyPairSync("rsa", { modulusLength: 2048 });
    publicKeys.push({ ...(await exportJWK(rotated.publicKey)), alg: "RS256", kid: "rotated" });
    vi.setSystemTime(Date.now() + 31_000);
    const token = rs256({ kid: "rotated" }, undefined, rotated.privateKey);
    expect((await ask(token)).status).toBe(200);
    publicKeys.pop();
  });
});

describe("a token that is signed well is refused all the same:", () => {
  const signed = (payload: object): string[] => [hmac(secret, undefined, payload), rs256({}, payload)];
  const valid = { ...claims, exp };
  const { exp: _exp, ...endless } = valid;
  const { iss: _iss, ...ofNobody } = valid;
  const { aud: _aud, ...forNobody } = valid;
  const now = () => Math.floor(Date.now() / 1_000);

  it.each<[string, object]>([
    ["expired", { ...valid, exp: now() - 6 }],
    ["expired long ago", { ...valid, exp: -1 }],
    ["without an end", endless],
    ["of an end that is text", { ...valid, exp: String(exp) }],
    ["of an end that is nothing", { ...valid, exp: null }],
    ["not valid yet", { ...valid, nbf: now() + 60 }],
    ["of a beginning that is text", { ...valid, nbf: "0" }],
    ["for another audience", { ...valid, aud: "somebody-else" }],
    ["for other audiences", { ...valid, aud: ["a", "b"] }],
    ["for no audience", forNobody],
    ["for an audience of another case", { ...valid, aud: audience.toUpperCase() }],
    ["of another issuer", { ...valid, iss: "https://evil.example" }],
    ["of an issuer whose name begins like it", { ...valid, iss: `${issuer}.evil.example` }],
    ["of two issuers", { ...valid, iss: [issuer] }],
    ["of no issuer", ofNobody],
    ["of an id that is an operator", { ...valid, id: { $gt: "" } }],
    ["of an id that is a list", { ...valid, id: [world.owner.id] }],
    ["of an id that is a number", { ...valid, id: 7 }],
    ["of an empty id", { ...valid, id: "" }],
    ["of a long id", { ...valid, id: "x".repeat(129) }],
    ["of a long id in few characters", { ...valid, id: "😀".repeat(65) }],
    ["of no id", { ...valid, id: undefined }],
    ["that is a list", [valid]],
  ])("%s", async (_what, payload) => {
    for (const token of signed(payload)) await expectRefused({ token });
  });

  it("with what its header says must be understood, and unencoded or encrypted payloads", async () => {
    for (const header of [{ crit: ["exp"] }, { crit: ["x"], x: 1 }, { crit: ["b64"], b64: false }, { crit: [] }]) {
      await expectRefused({ token: rs256(header) });
      await expectRefused({ token: hmac(secret, { alg: "HS256", ...header }) });
    }
    await expectRefused({ token: [encoded({ alg: "dir", enc: "A256GCM" }), "", "AAAA", "AAAA", "AAAA"].join(".") });
  });

  it("but once its bytes have changed", async () => {
    for (const token of [hmac(secret), rs256()]) {
      const [header = "", payload = "", signature = ""] = token.split(".");
      const admin = encoded({ ...valid, role: "super_admin" });
      const twice = encoded(`{"id":"${world.superAdmin.id}",${JSON.stringify(valid).slice(1)}`);
      for (const parts of [
        [header, admin, signature],
        [header, twice, signature],
        [header, payload, ""],
        [header, payload, signature.slice(0, -4)],
        [header, payload],
        [header, payload, signature, signature],
      ]) {
        await expectRefused({ token: parts.join(".") });
      }
    }
  });

  it("huge or deep, without a stumble", async () => {
    const deep = (levels: number) => `${'{"a":'.repeat(levels)}1${"}".repeat(levels)}`;
    for (const token of [
      "x".repeat(1_000_000),
      `${hmac(secret)}${"A".repeat(1_000_000)}`,
      `${unsigned({ alg: "HS256", x: "y".repeat(200_000) })}.AAAA`,
      `${unsigned(deep(10_000))}.AAAA`,
      `${unsigned(`{"alg":"RS256","x":${deep(10_000)}}`)}.AAAA`,
      hmac(secret, undefined, `{"id":${deep(10_000)},"iss":"${issuer}","aud":"${audience}","exp":${exp}}`),
      ".".repeat(100_000),
      "..",
      "null.null.null",
      `${encoded("null")}.${encoded("null")}.`,
      `${encoded("[]")}.${encoded("[]")}.`,
    ]) {
      await expectRefused({ token });
    }
  });
});

it("a third party's key set makes no super admin, on no endpoint", async () => {
  const before = await stateOf(world);
  const token = rs256({}, { ...claims, id: world.stranger.id, role: "super_admin", exp });
  for (const { call } of [both, keySetOnly]) {
    for (const [name, route] of guarded) {
      const { status, body } = await call(name, rightRequest(world, chatId, route, { token }));
      expect([name, status, body.code, body.details.effectiveRole]).toEqual([name, 403, "PERMISSION_DENIED", "none"]);
    }
  }
  expect(await stateOf(world)).toEqual(before);
});

describe("a good token in the wrong place is none:", () => {
  const token = hmac(secret);

  it.each<[string, object]>([
    ["another scheme", { headers: { authorization: `Basic ${token}` } }],
    ["Basic credentials", { headers: { authorization: `Basic ${btoa(`user:${token}`)}` } }],
    ["no scheme", { headers: { authorization: token } }],
    ["a tab for a space", { headers: { authorization: `Bearer\t${token}` } }],
    ["spaces alone", { headers: { authorization: "Bearer   " } }],
    ["a scheme that begins like it", { headers: { authorization: `Bearers ${token}` } }],
    ["a colon", { headers: { authorization: `Bearer: ${token}` } }],
    ["another header", { headers: { "x-access-token": token, "proxy-authorization": `Bearer ${token}` } }],
    ["a cookie", { headers: { cookie: `access_token=${token}; authorization=Bearer ${token}` } }],
    ["the query", { query: { access_token: token, token, authorization: `Bearer ${token}` } }],
    ["the body", { body: { access_token: token, token, authorization: `Bearer ${token}` } }],
  ])("%s: 401 ACCESS_TOKEN_REQUIRED", async (_where, request) => {
    await expectRefused({ token: undefined, ...request }, "ACCESS_TOKEN_REQUIRED");
  });

  // As API Gateway hands on a header that was sent twice: joined by a comma.
  it.each([
    [`Bearer ${token},Bearer ${token}`],
    [`Bearer ${token}, Bearer ${token}`],
    [`Bearer ${token},Basic dTpw`],
    [`Bearer ${token},`],
    [`Bearer ${token} x`],
    [`Bearer  ${token}  x`],
    [`Bearer ${token}\r\nx-role: super_admin`],
  ])("beside another, or something else, in one header: 401 INVALID_ACCESS_TOKEN", async (authorization) => {
    await expectRefused({ token: undefined, headers: { authorization } });
  });

  it("behind another scheme's in a header that was sent twice: 401", async () => {
    await expectRefused(
      { token: undefined, headers: { authorization: `Basic dTpw,Bearer ${token}` } },
      "ACCESS_TOKEN_REQUIRED",
    );
  });
});
