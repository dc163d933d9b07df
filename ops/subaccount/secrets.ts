import { createCipheriv, randomBytes, scrypt } from "node:crypto";
import { text } from "node:stream/consumers";
import { promisify } from "node:util";
import { config } from "../../lib/platform/config.ts";
import { encrypt, type Salt } from "../../lib/platform/crypto.ts";
import type { Flags } from "../command.ts";

/** What a command is given that must stay out of the shell's history. */
const names = ["SUBACCOUNT_RETELL_KEY", "SUBACCOUNT_WEBHOOK_KEY", "SUBACCOUNT_MONGODB_URL"] as const;
export type SecretName = (typeof names)[number];

/** The flags of a command that takes secrets. */
export const secretFlags = {
  stdin: { type: "boolean", description: "read the secrets from the input, as lines NAME=value" },
  "for-old-server": { type: "boolean", description: "store them in the form that the old server reads, too" },
} as const satisfies Flags;

/** Secrets from the environment, or with `--stdin` from the input. White space around a value is removed. */
export async function readSecrets(fromStdin: boolean): Promise<Partial<Record<SecretName, string>>> {
  const given: Partial<Record<string, string>> = fromStdin ? linesOf(await text(process.stdin)) : process.env;
  const values = names.flatMap((name) => {
    const value = given[name]?.trim();
    return value ? [[name, value] as const] : [];
  });
  return Object.fromEntries(values);
}

/** @throws When a line is not NAME=value of a secret that is known. The line itself is not named. */
function linesOf(input: string): Record<string, string> {
  const lines = input.split(/\r?\n/).filter((line) => line.trim() !== "");
  return Object.fromEntries(
    lines.map((line, index) => {
      const [, name = "", value = ""] = /^\s*([A-Z_]+)=(.*)$/.exec(line) ?? [];
      if (!names.some((known) => known === name)) {
        throw new Error(`line ${index + 1} of the input is not NAME=value, with a NAME of ${names.join(", ")}`);
      }
      return [name, value];
    }),
  );
}

/** A secret as it is stored. The fields of the old server's form are undefined in ours. */
export interface Sealed {
  text: string;
  encryptionIV: string | undefined;
  encryptionAuthTag: string | undefined;
}

const derive = promisify<string, string, number, Buffer>(scrypt);

/** Encrypts a secret: in our form, or in the old server's, which is bound to no subaccount. */
export async function seal(secret: string, subaccountId: string, salt: Salt, forOldServer: boolean): Promise<Sealed> {
  if (!forOldServer) {
    return { text: await encrypt(secret, subaccountId), encryptionIV: undefined, encryptionAuthTag: undefined };
  }
  const { ENCRYPTION_KEY, LEGACY_KEYS } = config();
  if (LEGACY_KEYS === "refuse") throw new Error("LEGACY_KEYS=refuse: this stage does not read the old server's form");
  const iv = randomBytes(16);
  const cipher = createCipheriv("aes-256-cbc", await derive(ENCRYPTION_KEY, salt, 32), iv);
  const hex = cipher.update(secret, "utf8", "hex") + cipher.final("hex");
  return { text: hex, encryptionIV: iv.toString("hex"), encryptionAuthTag: "cbc-mode" };
}

/** The update of a document that stores a secret in a field. */
export function storing(
  field: string,
  { text: sealed, encryptionIV, encryptionAuthTag }: Sealed,
): { $set: Record<string, string>; $unset: Record<string, ""> } {
  if (encryptionIV === undefined || encryptionAuthTag === undefined) {
    return { $set: { [field]: sealed }, $unset: { encryptionIV: "", encryptionAuthTag: "" } };
  }
  return { $set: { [field]: sealed, encryptionIV, encryptionAuthTag }, $unset: {} };
}
