import type { webcrypto } from "node:crypto";
import { type CompactVerifyResult, compactVerify, createRemoteJWKSet, errors, type JWTVerifyGetKey } from "jose";
import * as z from "zod";
import { type Actor, canonicalUserId } from "../../access/membership.ts";
import { config } from "../../platform/config.ts";
import { ApiError } from "../../platform/errors.ts";
import { parseJson } from "../../platform/json.ts";
import { loggable } from "../../platform/logger.ts";
import { Text } from "../../platform/text.ts";
import type { Middleware } from "../call.ts";
import { headerOf } from "../headers.ts";

/** Signature algorithms of a key set. HS256 is verified with the secret alone, and these with the key set alone. */
const asymmetric = ["RS256", "ES256", "EdDSA"];

const clockToleranceSeconds = 5;

/** Empty, null or of another type, it counts as absent: issuers write all of these where they have no value. */
const UserId = Text(1, 128)
  .refine((id) => id.trim() !== "")
  .optional()
  .catch(undefined);

/**
 * The claims that are read. A malformed claim counts as absent, but `exp` is required, and `nbf` must be a number or
 * null.
 */
const Claims = z
  .object({
    id: UserId,
    sub: UserId,
    role: z.enum(["super_admin", "admin", "user"]).catch("user"),
    iss: z.string().optional().catch(undefined),
    aud: z.unknown().optional(),
    exp: z.number(),
    nbf: z.number().nullish(),
  })
  .transform(({ sub, id = sub, ...claims }) => ({ ...claims, id: id === undefined ? id : canonicalUserId(id) }));

/** Verifies the bearer token, and sets the actor. What the actor may do is checked by authorize.ts. */
export function authenticate(): Middleware {
  return {
    before: async ({ event, internal: { state } }) => {
      const token = bearerToken(headerOf(event, "authorization"));
      state.actor = await verifyToken(token);
      state.log.fields.userId = loggable(state.actor.id);
    },
  };
}

/**
 * The scheme is followed by one or more spaces (RFC 9110, 11.4). API Gateway joins repeated headers by a comma, which no
 * token contains: two tokens are refused.
 */
function bearerToken(header: string | undefined): string {
  const [scheme = "", token = "", ...more] = (header ?? "").split(/ +/);
  if (scheme.toLowerCase() !== "bearer" || token === "") throw new ApiError("ACCESS_TOKEN_REQUIRED");
  if (more.length > 0 || token.includes(",")) throw new ApiError("INVALID_ACCESS_TOKEN");
  return token;
}

async function verifyToken(token: string): Promise<Actor> {
  const { JWT_SECRET, JWT_SECRETS_OLD, JWT_JWKS_URL, JWT_ISSUER, JWT_AUDIENCE, JWT_ADMIN_ISSUERS } = config();
  const [newest, ...older] = [JWT_SECRET ?? [], JWT_SECRETS_OLD].flat();
  // The token's header only selects the secrets or the key set. Each has fixed algorithms.
  const symmetric = algorithm(token) === "HS256";
  let verified: CompactVerifyResult;
  try {
    if (symmetric && newest !== undefined) {
      verified = await verifyBySecret(token, newest, older);
    } else if (!symmetric && JWT_JWKS_URL) {
      verified = await compactVerify(token, keySet(JWT_JWKS_URL), { algorithms: asymmetric });
    } else throw new ApiError("INVALID_ACCESS_TOKEN");
  } catch (cause) {
    if (cause instanceof ApiError) throw cause;
    // The key set cannot be fetched or read. That does not mean that the token is bad.
    if (!(cause instanceof errors.JOSEError) || keySetErrors.has(cause.code)) {
      throw new ApiError("CONNECTION_FAILED", { cause, message: "The token's issuer cannot be reached" });
    }
    throw new ApiError("INVALID_ACCESS_TOKEN", { cause });
  }

  // jwtVerify would check these claims too, but it refuses null in a claim that is not needed.
  const { data: claims } = Claims.safeParse(parseJson(Buffer.from(verified.payload).toString()));
  if (claims?.id === undefined) throw new ApiError("INVALID_ACCESS_TOKEN");
  const { id, role, iss, aud, exp, nbf } = claims;
  const now = Date.now() / 1_000;
  const isInTime = exp > now - clockToleranceSeconds && (nbf ?? now) <= now + clockToleranceSeconds;
  const isOfIssuer = JWT_ISSUER === undefined || iss === JWT_ISSUER;
  const isForUs = JWT_AUDIENCE === undefined || [aud].flat().includes(JWT_AUDIENCE);
  if (!isInTime || !isOfIssuer || !isForUs) throw new ApiError("INVALID_ACCESS_TOKEN");
  // A third party's key set must not mint super admins.
  const mayBeSuper = symmetric || (iss !== undefined && JWT_ADMIN_ISSUERS.includes(iss));
  return { id, role: role === "super_admin" && !mayBeSuper ? "user" : role };
}

/**
 * Verifies by the secret, and if the signature is not by it, by each of the others. A token of the first secret costs
 * one HMAC, as without others. How long it takes tells which secret signed, which is no secret.
 */
async function verifyBySecret(token: string, secret: string, others: string[]): Promise<CompactVerifyResult> {
  try {
    return await compactVerify(token, await secretKey(secret), { algorithms: ["HS256"] });
  } catch (error) {
    const [next, ...rest] = others;
    if (next === undefined || !(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
    return verifyBySecret(token, next, rest);
  }
}

function algorithm(token: string): unknown {
  try {
    return JSON.parse(Buffer.from(token.split(".")[0] ?? "", "base64url").toString()).alg;
  } catch {
    throw new ApiError("INVALID_ACCESS_TOKEN");
  }
}

const keySetErrors = new Set(["ERR_JWKS_TIMEOUT", "ERR_JWKS_INVALID", "ERR_JOSE_GENERIC"]);

/** As a CryptoKey: jose imports bytes or a KeyObject anew for each token, which makes it half as slow again. */
const imported = new Map<string, Promise<webcrypto.CryptoKey>>();
function secretKey(text: string): Promise<webcrypto.CryptoKey> {
  const known = imported.get(text) ?? importSecret(text);
  imported.set(text, known);
  return known;
}

const importSecret = (text: string) =>
  crypto.subtle.importKey("raw", Buffer.from(text), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);

/** How long a key that its issuer has withdrawn is still accepted. Each instance fetches the key set this often. */
const keySetMaxAgeMs = 5 * 60_000;

const keySets = new Map<string, JWTVerifyGetKey>();
function keySet(url: string): JWTVerifyGetKey {
  const options = { timeoutDuration: 2_000, cacheMaxAge: keySetMaxAgeMs };
  const known = keySets.get(url) ?? createRemoteJWKSet(new URL(url), options);
  keySets.set(url, known);
  return known;
}
