/** Loaded before the tools by their npm scripts: settings from `.env`, if there is one. The environment comes first. */
import { readEnvFile } from "../infra/env-file.ts";

try {
  for (const [name, value] of Object.entries(readEnvFile(".env"))) process.env[name] ??= value;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exit(1);
}
