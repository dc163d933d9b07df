/**
 * The name of this installation. Not in config.ts, because functions without secrets need it, too.
 *
 * SST's stage has precedence: in `sst shell`, STAGE comes from a developer's own `.env`.
 */
export function stage(): string {
  const { SST_RESOURCE_App: app, STAGE } = process.env;
  if (!app) return STAGE?.trim() || "local";
  const name: unknown = JSON.parse(app).stage;
  // No fallback: tools would work on the keys of another stage.
  if (typeof name !== "string" || name === "") throw new Error("SST_RESOURCE_App names no stage");
  return name;
}

/** The page that explains the error codes (DOCS_URL), with an anchor for each; undefined when there is none. */
export const docsUrl = () => process.env.DOCS_URL?.trim() || undefined;
