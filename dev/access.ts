/** `npm run access:forget -- --user ID`: every instance forgets at once what it knows of a user's permissions. */
import { parseArgs } from "node:util";
import { forget } from "../lib/access.ts";

const { values } = parseArgs({ options: { user: { type: "string" } } });
if (!values.user) {
  console.error("Usage: npm run access:forget -- --user ID");
  process.exit(1);
}
try {
  await forget(values.user);
  console.log(`${values.user}: read anew at the next request of every instance`);
} catch (error) {
  console.error(`Redis did not answer (${error instanceof Error ? error.name : error}): it takes a minute by itself`);
  process.exit(1);
}
