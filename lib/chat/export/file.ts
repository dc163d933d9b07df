import type { Deadline } from "../../platform/deadline.ts";
import { ApiError } from "../../platform/errors.ts";
import { clockIn } from "../../platform/zone.ts";
import { maxAnswerBytes } from "../read.ts";
import type { Transcript } from "../schema.ts";
import { csvHead, csvRows } from "./csv.ts";
import { toMarkdown } from "./markdown.ts";
import { type ExportFileFormat, mediaTypes } from "./query.ts";
import { toReadable } from "./readable.ts";
import { toText } from "./text.ts";

interface Options {
  format: ExportFileFormat;
  timeZone: string;
  /** Whether Retell could not be read. */
  stale: boolean;
  /** How long a file may take. */
  deadline: Deadline;
}

/**
 * One chat as a file.
 *
 * @throws EXPORT_TOO_LARGE when the file would exceed Lambda's limit, or a PDF its time
 */
export async function exportFile(chat: Transcript, options: Options) {
  const { format } = options;
  const content = await contentOf(chat, options);
  const isText = typeof content === "string";
  const bytes = isText ? Buffer.byteLength(JSON.stringify(content)) : (content.length * 4) / 3;
  if (bytes > maxAnswerBytes) throw tooLarge();
  return { name: `${fileNameOf(chat.chat_id)}.${format}`, type: mediaTypes[format], content };
}

export const tooLarge = () => new ApiError("EXPORT_TOO_LARGE");

async function contentOf(chat: Transcript, { format, timeZone, stale, deadline }: Options): Promise<string | Buffer> {
  if (format === "json") return JSON.stringify(chat);
  if (format === "csv") return csvHead() + csvRows(chat, clockIn(timeZone)).text;
  const readable = toReadable(chat, { timeZone, stale });
  if (format === "md") return toMarkdown(readable);
  if (format === "txt") return toText(readable);
  const { toPdf } = await import("./pdf/pdf.ts"); // in a file of its own, which the other formats do not load
  return toPdf(readable, deadline);
}

/** Windows allows no colon in a name, and no name such as `con` or `nul.txt`. */
function fileNameOf(chatId: string): string {
  const name = chatId.replaceAll(":", "_");
  return name.startsWith("chat_") ? name : `chat_${name}`;
}
