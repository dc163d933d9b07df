import { endpoint } from "../lib/api/endpoint.ts";
import { route } from "../lib/api/routes/export.ts";
import { exportFile, tooLarge } from "../lib/chat/export/file.ts";
import { isSeqProvisional, readChat, transcriptOf } from "../lib/chat/read.ts";

/** One chat as a file. It has what the transcript has: an ongoing chat is read from Retell first. */
export const handler = endpoint(route).handler(async ({ params, query, tenant, deadline, requirePermission }) => {
  const withTools = query.include === "tools";
  if (withTools) requirePermission("write");

  const { chat, stale } = await readChat(tenant, params.chatId, deadline, query.consistency === "strong");
  const { data, page } = transcriptOf(chat, { withTools }, !isSeqProvisional(chat, stale));
  if (page.hasMore) throw tooLarge(); // a file has no second page

  const { format, timezone: timeZone } = query;
  return { file: await exportFile(data, { format, timeZone, stale, deadline }) };
});
