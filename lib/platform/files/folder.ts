import { createHash, createHmac, hkdfSync, randomUUID, timingSafeEqual } from "node:crypto";
import { createWriteStream } from "node:fs";
import { access, mkdir, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { config } from "../config.ts";
import { type Files, fileMs, type Offer } from "./model.ts";

/** Where a file is served: this, and its name. */
export const filesPath = "/_files/";

/** No dot but that of the ending, so that no name leads out of the folder. */
const fileName = /^(?:[\w-]{1,80}\/){0,3}[\w-]{1,80}\.[a-z0-9]{1,8}$/;
const uploadId = /^[\w-]{1,80}$/;

/** Files in a folder of this machine, for `npm start` and tests. `dev/gateway/files.ts` serves them. */
export function folder(root: string): Files {
  const pathOf = (name: string) => join(root, checked(name, fileName));
  const partsOf = (upload: string) => join(root, ".parts", checked(upload, uploadId));
  return {
    async begin() {
      await deleteOld(join(root, ".parts"));
      await deleteOld(root);
      const upload = randomUUID();
      await mkdir(partsOf(upload), { recursive: true, mode: 0o700 });
      return upload;
    },

    async put(_name, upload, number, bytes) {
      await replace(join(partsOf(upload), String(number)), (path) => writeFile(path, bytes, { mode: 0o600 }));
      return { number, etag: etagOf(bytes) };
    },

    async finish(name, upload, parts) {
      const path = pathOf(name);
      if (await exists(path)) return;
      await mkdir(dirname(path), { recursive: true, mode: 0o700 });
      await replace(path, (temporary) =>
        pipeline(
          contentOf(parts.map(({ number, etag }) => ({ path: join(partsOf(upload), String(number)), etag }))),
          createWriteStream(temporary, { mode: 0o600 }),
        ),
      );
      await rm(partsOf(upload), { recursive: true, force: true });
    },

    async discard(name, upload) {
      if (upload) await rm(partsOf(upload), { recursive: true, force: true });
      await rm(pathOf(name), { force: true });
    },

    async link(name, offer) {
      const expires = Math.floor(Date.now() / 1_000) + offer.seconds;
      const query = { expires: String(expires), saveAs: offer.saveAs, type: offer.type };
      const signed = new URLSearchParams({ ...query, signature: signatureOf(name, query) });
      return `${config().FILES_URL ?? ""}${filesPath}${name}?${signed}`;
    },
  };
}

/**
 * The file that a link leads to.
 *
 * @param name What follows `filesPath`, decoded.
 * @returns Undefined when the link was not made by `link`, is no more valid, or its file is gone.
 */
export async function linkedFile(
  name: string,
  { signature = "", ...query }: Record<string, string>,
): Promise<(Omit<Offer, "seconds"> & { path: string; bytes: number }) | undefined> {
  const { FILES_FOLDER } = config();
  const { expires = "", saveAs = "", type = "" } = query;
  if (!FILES_FOLDER || !fileName.test(name) || !isSame(signature, signatureOf(name, { expires, saveAs, type })))
    return undefined;
  if (!(Number(expires) * 1_000 > Date.now())) return undefined;
  const path = join(FILES_FOLDER, name);
  const found = await stat(path).catch(() => undefined);
  return found?.isFile() ? { path, bytes: found.size, saveAs, type } : undefined;
}

function signatureOf(name: string, { expires, saveAs, type }: Record<string, string>): string {
  const key = Buffer.from(hkdfSync("sha256", config().ENCRYPTION_KEY, "", "scalai-chat links to files", 32));
  return createHmac("sha256", key)
    .update(JSON.stringify([name, expires, saveAs, type]))
    .digest("base64url");
}

function isSame(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function checked(text: string, pattern: RegExp): string {
  if (!pattern.test(text)) throw new Error("Not the name of a file");
  return text;
}

const etagOf = (bytes: Buffer) => createHash("md5").update(bytes).digest("hex");

async function* contentOf(parts: { path: string; etag: string }[]): AsyncGenerator<Buffer> {
  for (const { path, etag } of parts) {
    const bytes = await readFile(path);
    if (etagOf(bytes) !== etag) throw new Error("A part was replaced"); // as S3 refuses it
    yield bytes;
  }
}

/** Writes a file of another name first, so that a file is there whole or not at all. */
async function replace(path: string, write: (temporary: string) => Promise<void>): Promise<void> {
  const temporary = `${path}.${randomUUID()}`;
  await write(temporary);
  await rename(temporary, path);
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

/** As the bucket's lifecycle does: deletes files, and uploads that nobody has finished, after a day. */
async function deleteOld(path: string): Promise<void> {
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true }).catch(() => [])) {
    const file = join(entry.parentPath, entry.name);
    const found = entry.isFile() ? await stat(file).catch(() => undefined) : undefined;
    if (found && Date.now() - found.mtimeMs > fileMs) await rm(file, { force: true });
  }
}
