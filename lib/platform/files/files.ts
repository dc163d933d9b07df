import { config } from "../config.ts";
import { folder } from "./folder.ts";
import type { Files } from "./model.ts";
import { bucket } from "./s3.ts";

/** The store of this installation; undefined if it has none. */
export function files(): Files | undefined {
  const { FILES_BUCKET, FILES_FOLDER } = config();
  if (FILES_BUCKET) return bucket(FILES_BUCKET);
  return FILES_FOLDER ? folder(FILES_FOLDER) : undefined;
}
