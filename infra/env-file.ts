import { isUtf8 } from "node:buffer";
import { readFileSync } from "node:fs";
import { parseEnv } from "node:util";

/** Adds the variables of `.env` to the environment. Variables that the environment has already stay. */
export function readDotEnv(): void {
  for (const [name, value] of Object.entries(readEnvFile(".env"))) process.env[name] ??= value;
}

/**
 * The variables of a file such as `.env`; none if it does not exist.
 *
 * @throws An Error with a message of one line, when the file cannot be read, is not UTF-8, or has a name with invisible
 *         characters. Such a name would be another variable, and a command would work on another database.
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
  // UTF-16 of ASCII text is valid UTF-8, with a NUL in every other byte.
  if (!isUtf8(bytes) || bytes.includes(0)) {
    throw new Error(`${path} is not UTF-8 text (UTF-16, perhaps): save it as UTF-8; nothing was started`);
  }
  // Concatenated files have byte order marks in the middle. Node's parser takes a lone CR, and so the next line, as part
  // of a value.
  const text = bytes
    .toString()
    .replace(/\r\n?/g, "\n")
    .replace(/^\ufeff+/gm, "");
  const variables = parseEnv(text);
  const odd = Object.keys(variables).find((name) => !/^[\x21-\x7e]+$/.test(name));
  if (odd === undefined) return variables;
  const shown = odd.slice(0, 64).replace(/[^\x20-\x7e]/g, "?");
  throw new Error(`${path} has a name with characters other than visible ASCII (${shown}): nothing was started`);
}
