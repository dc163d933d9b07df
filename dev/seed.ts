import { parseArgs } from "node:util";
import { confirmWrite, setOwnTarget } from "../ops/target.ts";
import { demo } from "./seed/demo.ts";
import { load } from "./seed/load.ts";
import { DEFAULT_FOLDER } from "./start/folder.ts";
import { isOfDemo, running } from "./start/running.ts";

export { demo, demoTokens, noTokens, ownerId, seedDemo } from "./seed/demo.ts";

const USAGE = "npm run seed -- --chats N --messages M [--subaccount ID] [--seed N] [--data DIR] [--yes]";

/** Fills a subaccount of the running `npm start`, or of MONGODB_URL, and prints what is there as JSON. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      chats: { type: "string", default: "1000" },
      messages: { type: "string", default: "10" },
      subaccount: { type: "string", default: demo.subaccountId },
      seed: { type: "string", default: "1" },
      data: { type: "string", default: DEFAULT_FOLDER },
      yes: { type: "boolean" },
    },
  });
  const [chats, messages, seed] = [whole(values.chats), whole(values.messages), whole(values.seed)];
  if (!/^[0-9a-f]{24}$/i.test(values.subaccount)) throw new Error(`${values.subaccount} is no subaccount's id.`);
  const subaccountId = values.subaccount.toLowerCase();
  const about = process.env.MONGODB_URL ? undefined : await running(values.data);
  if (about && isOfDemo(about)) setOwnTarget();
  const url = process.env.MONGODB_URL || about?.services.mongodb;
  if (!url) throw new Error("Nothing runs: start it with `npm start`, or set MONGODB_URL.");
  await confirmWrite(values.yes, { mongodb: url });
  console.log(JSON.stringify(await load(url, { subaccountId, chats, messages, seed }), null, 2));
}

function whole(text: string): number {
  if (!/^\d{1,9}$/.test(text)) throw new Error(`${text} is not a whole number. Usage: ${USAGE}`);
  return Number(text);
}

if (import.meta.main) {
  try {
    await main();
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  }
}
