import { createHook } from "node:async_hooks";
import { createCipheriv, createHash, randomBytes, scryptSync } from "node:crypto";
import { afterEach, describe, expect, it, vi } from "vitest";

const id = "64b000000000000000000001";
const other = "64b000000000000000000002";

const bytes = createHash("sha256").update("k").digest();
const kinds = [
  ["a passphrase", "correct horse battery staple"],
  ["32 bytes in hex", bytes.toString("hex")],
  ["32 bytes in base64", bytes.toString("base64")],
] as const;

const env = { ...process.env };
afterEach(() => {
  process.env = { ...env };
});

/** The library in a process that has these keys. */
async function under(current: string, old = "") {
  vi.resetModules();
  Object.assign(process.env, { ENCRYPTION_KEY: current, ENCRYPTION_KEYS_OLD: old });
  const { config } = await import("../../lib/platform/config.ts");
  config(); // read while the keys stand
  const { encrypt, decrypt, isUnderCurrentKey } = await import("../../lib/platform/crypto.ts");
  return {
    encrypt,
    isUnderCurrentKey,
    decrypt: (text: string, owner = id, iv?: string) => decrypt({ text, iv }, owner, "retell-salt"),
  };
}

/** Encrypts as the old server does. */
function asOldServer(secret: string, passphrase: string) {
  const iv = randomBytes(16);
  const cipher = createCipheriv("aes-256-cbc", scryptSync(passphrase, "retell-salt", 32), iv);
  return { text: cipher.update(secret, "utf8", "hex") + cipher.final("hex"), iv: iv.toString("hex") };
}

/** The parts of a ciphertext: version, key id, nonce, tag, text. */
const parts = (sealed: string) => sealed.split(".");
const changed = (part = "") => {
  const buffer = Buffer.from(part, "base64url");
  buffer[0] = (buffer[0] ?? 0) ^ 1;
  return buffer.toString("base64url");
};

describe("secrets at rest", () => {
  it.each(kinds)("open again, and are never the same twice: %s", async (_kind, key) => {
    const { encrypt, decrypt } = await under(key);
    const sealed = await encrypt("key_secret", id);
    expect(sealed).toMatch(/^v2\.[0-9a-f]{8}\.[\w-]{16}\.[\w-]{22}\.[\w-]+$/);
    expect(sealed).not.toBe(await encrypt("key_secret", id));
    expect(await decrypt(sealed)).toBe("key_secret");
  });

  it("open for their own subaccount alone", async () => {
    const { encrypt, decrypt } = await under("the key");
    await expect(decrypt(await encrypt("key_secret", id), other)).rejects.toThrow();
  });

  it.each([
    ["nonce", 2],
    ["tag", 3],
    ["text", 4],
  ])("do not open when one bit of the %s has changed", async (_part, at) => {
    const { encrypt, decrypt } = await under("the key");
    const sealed = await encrypt("key_secret", id);
    await expect(
      decrypt(
        parts(sealed)
          .map((part, i) => (i === at ? changed(part) : part))
          .join("."),
      ),
    ).rejects.toThrow();
  });

  it.each([
    [
      "a shorter tag, which would be easier to guess",
      (sealed: string[]) => sealed.with(3, sealed[3]?.slice(0, 6) ?? ""),
    ],
    ["a longer nonce", (sealed: string[]) => sealed.with(2, `${sealed[2]}AAAA`)],
    ["no text", (sealed: string[]) => sealed.slice(0, 4)],
    ["nothing but the version", () => ["v2", ""]],
  ])("do not open with %s", async (_what, change) => {
    const { encrypt, decrypt } = await under("the key");
    await expect(decrypt(change(parts(await encrypt("key_secret", id))).join("."))).rejects.toThrow(
      "Not a v2 ciphertext",
    );
  });

  it("do not open under a key that is not configured, nor under another's id", async () => {
    const { encrypt, decrypt } = await under("the key");
    const sealed = await encrypt("key_secret", id);
    const without = await under("another");
    await expect(without.decrypt(sealed)).rejects.toThrow("not configured");
    const [, theirs] = parts(await without.encrypt("something", id));
    await expect(
      without.decrypt(
        parts(sealed)
          .with(1, theirs ?? "")
          .join("."),
      ),
    ).rejects.toThrow();
    expect(await (await under("the key")).decrypt(sealed)).toBe("key_secret");
    expect(await decrypt(sealed)).toBe("key_secret");
  });

  it.each(kinds)("of the old key and of the new one open side by side: %s", async (_kind, key) => {
    const before = await (await under(key)).encrypt("from before", id);
    const after = await under("the new one", `another, ${key}`);
    const now = await after.encrypt("from now", id);
    expect(await Promise.all([before, now].map((sealed) => after.decrypt(sealed)))).toEqual([
      "from before",
      "from now",
    ]);
    expect(await Promise.all([before, now].map(after.isUnderCurrentKey))).toEqual([false, true]);
  });

  it("of the old server open with whichever key it had", async () => {
    const { text, iv } = asOldServer("key_secret", "theirs");
    expect(await (await under("theirs")).decrypt(text, id, iv)).toBe("key_secret");
    expect(await (await under("the new one", "another, theirs")).decrypt(text, id, iv)).toBe("key_secret");
    await expect((await under("the new one")).decrypt(text, id, iv)).rejects.toThrow("No configured key opens it");
  });

  it("cost a passphrase's slow derivation once in a process, however many come at once", async () => {
    let derivations = 0;
    const hook = createHook({
      init: (_id, type) => {
        if (type === "SCRYPTREQUEST") derivations += 1;
      },
    }).enable();
    const { encrypt, decrypt } = await under("correct horse battery staple");
    const sealed = await Promise.all([...Array(20)].map(() => encrypt("key_secret", id)));
    await Promise.all(sealed.map((text) => decrypt(text)));
    hook.disable();
    expect(derivations).toBe(1);
  });
});
