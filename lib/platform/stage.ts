/**
 * Name of this installation. Apart from config.ts, because functions that need no secret know it too.
 *
 * What SST says comes first: `sst shell` tells the operators' tools their stage in no other way, and what STAGE says
 * there is a developer's own `.env`.
 */
export function stage(): string {
  const { SST_RESOURCE_App: app, STAGE } = process.env;
  if (!app) return STAGE?.trim() || "local";
  const told: unknown = JSON.parse(app).stage;
  // Never another one instead: the tools would work on its keys, and say that all is well.
  if (typeof told !== "string" || told === "") throw new Error("SST_RESOURCE_App names no stage");
  return told;
}
