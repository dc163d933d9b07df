import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";
import { withoutBom } from "../lib/json.ts";

/**
 * What a file such as `.env` sets; nothing if it does not exist.
 *
 * @throws An Error in one line, when the file cannot be read or is no UTF-8. Node would take UTF-16 for variables of
 *         other names, so that a tool would work on another database than the one that is named.
 */
export function readEnvFile(path: string): NodeJS.Dict<string> {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return {};
    throw new Error(`${path} cannot be read (${code}): nothing was started`);
  }
  // UTF-16 of English text is valid UTF-8, with a NUL in every other byte.
  if (!isUtf8(bytes) || bytes.includes(0)) {
    throw new Error(`${path} is not UTF-8 text (UTF-16, perhaps): save it as UTF-8; nothing was started`);
  }
  return parseEnv(withoutBom(bytes.toString()));
}
