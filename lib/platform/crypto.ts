import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes, scrypt } from "node:crypto";
import { promisify } from "node:util";
import { config } from "./config.ts";

const derive = promisify<string, string, number, Buffer>(scrypt);

/** The old server's salts. Each kind of secret has its own, and so its own key. */
export type Salt = "retell-salt" | "subaccount-salt";

/** A secret as it is stored. Ours is `text` alone; the old server's has a hex IV, too. */
export interface Encrypted {
  text: string;
  iv?: string | undefined;
}

const derived = new Map<string, Promise<Buffer>>();

/**
 * Encrypts a secret of a subaccount for storage.
 *
 * @returns `v2.{key id}.{nonce}.{tag}.{ciphertext}`, base64url: AES-256-GCM. The subaccount's id is the additional data,
 *          so that a ciphertext in another subaccount's document cannot be decrypted.
 */
export async function encrypt(secret: string, subaccountId: string): Promise<string> {
  const key = await gcmKey(config().ENCRYPTION_KEY);
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(subaccountId));
  const text = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()]);
  return ["v2", keyId(key), ...[nonce, cipher.getAuthTag(), text].map((part) => part.toString("base64url"))].join(".");
}

/** Whether `encrypt` wrote a stored secret with the current key, so that it needs no rotation. */
export async function isUnderCurrentKey(text: string): Promise<boolean> {
  return text.trim().startsWith(`v2.${keyId(await gcmKey(config().ENCRYPTION_KEY))}.`);
}

/** Whether a stored secret has the old server's form, which is not bound to a subaccount. */
export const isLegacy = (text: string) => !text.trim().startsWith("v2.");

/**
 * Decrypts what `encrypt` or the old server (AES-256-CBC, key = scrypt(ENCRYPTION_KEY, salt)) wrote, with the current key
 * or one of ENCRYPTION_KEYS_OLD.
 *
 * Invisible characters at the ends of a secret are removed: the newline of a pipe, a byte order mark, the zero width
 * space of a web page.
 *
 * @throws When no key fits, when the secret is empty, or when it has the old server's form and LEGACY_KEYS is `refuse`.
 */
export async function decrypt({ text, iv }: Encrypted, subaccountId: string, salt: Salt): Promise<string> {
  const { ENCRYPTION_KEY, ENCRYPTION_KEYS_OLD, LEGACY_KEYS } = config();
  const passphrases = [ENCRYPTION_KEY, ...ENCRYPTION_KEYS_OLD];
  const isOld = isLegacy(text);
  if (isOld && LEGACY_KEYS === "refuse") throw new Error("LEGACY_KEYS=refuse: the old server's form is not read");
  const sealed = { text: text.trim(), iv: iv?.trim() };
  const secret = isOld
    ? await decryptLegacy(sealed, salt, passphrases)
    : trimInvisible(await decryptGcm(sealed.text, subaccountId, passphrases));
  // With an empty key, anyone could sign webhooks.
  if (secret === "") throw new Error("The secret is empty");
  return secret;
}

async function decryptGcm(sealed: string, subaccountId: string, passphrases: string[]): Promise<string> {
  const [, id, ...rest] = sealed.split(".");
  const [nonce, tag, text] = rest.map((part) => Buffer.from(part, "base64url"));
  if (nonce?.length !== 12 || tag?.length !== 16 || text === undefined) throw new Error("Not a v2 ciphertext");

  for (const passphrase of passphrases) {
    const key = await gcmKey(passphrase);
    if (keyId(key) !== id) continue;
    const decipher = createDecipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(subaccountId)).setAuthTag(tag);
    return Buffer.concat([decipher.update(text), decipher.final()]).toString("utf8");
  }
  throw new Error("Encrypted with a key that is not configured");
}

async function decryptLegacy({ text, iv }: Encrypted, salt: Salt, passphrases: string[]): Promise<string> {
  for (const passphrase of passphrases) {
    try {
      const key = await memoized(`${salt}\n${passphrase}`, () => derive(passphrase, salt, 32));
      const decipher = createDecipheriv("aes-256-cbc", key, Buffer.from(iv ?? "", "hex"));
      const plain = trimInvisible(Buffer.concat([decipher.update(text, "hex"), decipher.final()]).toString("utf8"));
      // CBC has no tag: one wrong key in 256 gives valid padding and random bytes. Real keys and URLs are ASCII.
      if (/^[\x20-\x7e]+$/.test(plain)) return plain;
    } catch {
      // The wrong key, or no ciphertext: the next key is tried.
    }
  }
  throw new Error("No configured key opens it");
}

/** White space, control and format characters. */
const trimInvisible = (text: string) => text.replace(/^[\s\p{Cc}\p{Cf}]+|[\s\p{Cc}\p{Cf}]+$/gu, "");

/** HKDF from 32 random bytes (hex or base64); scrypt, once per process, from a passphrase. */
function gcmKey(passphrase: string): Promise<Buffer> {
  return memoized(passphrase, async () => {
    const raw = /^[0-9a-f]{64}$/i.test(passphrase)
      ? Buffer.from(passphrase, "hex")
      : /^[A-Za-z0-9+/_-]{43}=?$/.test(passphrase)
        ? Buffer.from(passphrase, "base64")
        : undefined;
    if (raw) return Buffer.from(hkdfSync("sha256", raw, "", "scalai-chat v2", 32));
    return derive(passphrase, "scalai-chat v2", 32);
  });
}

function memoized(name: string, make: () => Promise<Buffer>): Promise<Buffer> {
  let key = derived.get(name);
  if (!key) {
    key = make();
    derived.set(name, key);
  }
  return key;
}

function keyId(key: Buffer): string {
  return createHash("sha256").update(key).digest("hex").slice(0, 8);
}
