import { MongoClient } from "mongodb";
import { subaccountOf } from "../../lib/access/subaccount.ts";
import { connectionStringOf } from "../../lib/access/tenant.ts";
import { config } from "../../lib/platform/config.ts";
import { central } from "../../lib/platform/mongo.ts";
import { defineCommand } from "../command.ts";
import { reachable } from "../failure.ts";
import { table } from "../table.ts";
import { stageTarget } from "../target.ts";
import { type SubaccountDocument, subaccountDocuments } from "./change.ts";

export const command = defineCommand({
  details: "Prints hosts and databases, no user and no password.",
  flags: { json: { type: "boolean", description: "print JSON" } },
  target: stageTarget,
  async run({ json }) {
    const db = await reachable(central());
    const documents = await (await subaccountDocuments()).find({}).sort({ _id: 1 }).toArray();
    const accounts = await db
      .collection("retellaccounts")
      .find({}, { projection: { subaccountId: 1, isActive: 1 } })
      .toArray();
    const accountOf = new Map(accounts.map(({ subaccountId, isActive }) => [String(subaccountId), isActive === true]));
    const rows = await Promise.all(
      documents.map(async ({ _id, ...document }) => {
        const id = _id.toHexString();
        const account = accountOf.get(id);
        return {
          subaccountId: id,
          name: typeof document.name === "string" ? document.name : "",
          state: stateOf(document),
          database: await addressOf(id, document),
          retell: account === undefined ? "no account" : account ? "active" : "inactive",
        };
      }),
    );
    if (json) return console.log(JSON.stringify(rows, null, 2));
    console.log(
      table([["subaccount", "name", "state", "database", "Retell"], ...rows.map((row) => Object.values(row))]),
    );
  },
});

function stateOf(document: SubaccountDocument): string {
  const { isActive, maintenanceMode, paused } = subaccountOf({ ...document });
  const all = [isActive ? "active" : "inactive", maintenanceMode ? "maintenance" : ""];
  if (document.chatPause?.isOfMove) all.push("is being moved");
  else if (paused) all.push(paused === "all" ? "paused, requests too" : "paused");
  return all.filter(Boolean).join(", ");
}

/** `host/database`, where its chats are. */
async function addressOf(id: string, document: SubaccountDocument): Promise<string> {
  const location = subaccountOf({ ...document });
  try {
    const url = await connectionStringOf(id, location);
    const { srvHost, hosts, dbName } = new MongoClient(url).options;
    const host = url === config().MONGODB_URL ? "central" : (srvHost ?? hosts.join(","));
    return `${host}/${location.databaseName ?? dbName}`;
  } catch {
    return "its address cannot be read: npm run ops -- doctor";
  }
}
