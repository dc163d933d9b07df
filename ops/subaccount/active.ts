import { defineCommand, type Flags, writeFlags } from "../command.ts";
import { stageTarget } from "../target.ts";
import { changeSubaccount, subaccountDocument } from "./change.ts";

const flags = {
  subaccount: { type: "id", description: "the subaccount", required: true },
  ...writeFlags,
} as const satisfies Flags;

export const enable = defineCommand({
  flags,
  target: stageTarget,
  run: ({ subaccount, "dry-run": isDryRun }) => setActive(subaccount, true, isDryRun),
});

export const disable = defineCommand({
  details: "The sweep and Retell's webhooks still close its chats. Nothing is deleted.",
  flags,
  target: stageTarget,
  run: ({ subaccount, "dry-run": isDryRun }) => setActive(subaccount, false, isDryRun),
});

async function setActive(id: string, isActive: boolean, isDryRun: boolean): Promise<void> {
  const document = await subaccountDocument(id);
  const state = isActive ? "active" : "inactive: its requests get 403";
  if (document.isActive === isActive) return console.log(`${id}: is ${state}`);
  if (isDryRun) return console.log(`${id}: would be ${state}`);
  await changeSubaccount(id, { $set: { isActive } });
  console.log(`${id}: is ${state}`);
}
