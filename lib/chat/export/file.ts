import { ApiError } from "../../platform/errors.ts";
import { clockIn } from "../../platform/zone.ts";
import type { Transcript } from "../schema.ts";
import { csvHead, csvRows } from "./csv.ts";
import { toMarkdown } from "./markdown.ts";
import { type ExportFileFormat, mediaTypes } from "./query.ts";
import { toReadable } from "./readable.ts";
import { toText } from "./text.ts";

/** Lambda refuses answers above 6 MB. It counts its own JSON, with a text escaped inside. */
const maxAnswerBytes = 5_500_000;

interface Options {
  format: ExportFileFormat;
  timeZone: string;
  stale: boolean;
}

/**
 * One chat as a file.
 *
 * @throws EXPORT_TOO_LARGE when the file would exceed Lambda's limit
 */
export function exportFile(chat: Transcript, { format, timeZone, stale }: Options) {
  const content = contentOf(chat, { format, timeZone, stale });
  if (Buffer.byteLength(JSON.stringify(content)) > maxAnswerBytes) throw tooLarge();
  return { name: `${fileNameOf(chat.chat_id)}.${format}`, type: mediaTypes[format], content };
}

export const tooLarge = () => new ApiError("EXPORT_TOO_LARGE");

function contentOf(chat: Transcript, { format, timeZone, stale }: Options): string {
  if (format === "json") return JSON.stringify(chat);
  if (format === "csv") return csvHead() + csvRows(chat, clockIn(timeZone)).text;
  const readable = toReadable(chat, { timeZone, stale });
  return format === "md" ? toMarkdown(readable) : toText(readable);
}

/** Windows allows no colon in a name, and no name such as `con` or `nul.txt`. */
function fileNameOf(chatId: string): string {
  const name = chatId.replaceAll(":", "_");
  return name.startsWith("chat_") ? name : `chat_${name}`;
}
