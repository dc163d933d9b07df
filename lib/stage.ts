/**
 * Name of this installation. Apart from config.ts, because functions that need no secret know it too.
 *
 * What SST says comes first: `sst shell` tells the operators' tools their stage in no other way, and what STAGE says
 * there is a developer's own `.env`.
 */
export function stage(): string {
  const { SST_RESOURCE_App: app, STAGE } = process.env;
  return app ? JSON.parse(app).stage : STAGE?.trim() || "local";
}
