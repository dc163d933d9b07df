import { defineCommand, writeFlags } from "../ops/command.ts";
import { mongoTarget } from "../ops/target.ts";
import { demo } from "./seed/demo.ts";
import { load } from "./seed/load.ts";
import { DEFAULT_FOLDER } from "./start/folder.ts";
import { isOfDemo, running } from "./start/running.ts";

/** Where the chats go: MONGODB_URL, or the `npm start` that runs on a data folder. */
async function mongoOf(data: string | undefined): Promise<{ url: string; isOwn: boolean }> {
  const { MONGODB_URL } = process.env;
  if (MONGODB_URL) return { url: MONGODB_URL, isOwn: false };
  const about = await running(data ?? DEFAULT_FOLDER);
  if (!about) throw new Error("Nothing runs: start it with npm start, or set MONGODB_URL");
  return { url: about.services.mongodb, isOwn: isOfDemo(about) };
}

export const command = defineCommand({
  details:
    "Talks of customer service in eight languages, spread over the last year. Prints the ids as JSON, for load tests.\nThe same --seed gives the same chats; a second run adds none.",
  flags: {
    chats: { type: "number", description: "how many chats", default: 1_000 },
    messages: { type: "number", description: "how many messages in each", default: 10 },
    subaccount: { type: "id", description: "the subaccount", default: demo.subaccountId },
    seed: { type: "number", description: "what the chats are derived from", default: 1 },
    data: { type: "path", description: "the data folder of the npm start (default: .local)" },
    ...writeFlags,
  },
  async target({ data }) {
    const { url, isOwn } = await mongoOf(data);
    return mongoTarget(url, isOwn);
  },
  async run({ subaccount: subaccountId, chats, messages, seed, data, "dry-run": isDryRun }) {
    const { url } = await mongoOf(data);
    if (isDryRun) return console.log(`would add up to ${chats} chats of ${messages} messages to ${subaccountId}`);
    console.log(JSON.stringify(await load(url, { subaccountId, chats, messages, seed }), null, 2));
  },
});
