/** Imported before a program by its npm script: reads `.env`. */
import { readDotEnv } from "../infra/env-file.ts";

try {
  readDotEnv();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
