import * as z from "zod";
import { TimeZone } from "../../platform/zone.ts";
import { FilterTexts } from "../find/filter.ts";
import { InSubaccount } from "../schema.ts";

export const ExportId = z
  .string()
  .regex(/^[A-Za-z0-9_-]{1,64}$/, "Must be an export's id")
  .meta({ description: "The export", example: "exp_4Yl1mZ0cXb0mC3q8vT5d2w" });

export const InExport = InSubaccount.extend({ exportId: ExportId });

export const ExportFormat = z.enum(["jsonl", "csv"]).meta({
  description: "`jsonl`: a line for each chat, with its messages. `csv`: a row for each message",
});
export type ExportFormat = z.infer<typeof ExportFormat>;

export const CreateExportBody = z.object({
  filter: FilterTexts.nullish()
    .transform((given) => given ?? {})
    .meta({ description: "Absent: all chats" }),
  format: ExportFormat,
  timezone: TimeZone.nullish()
    .transform((given) => given ?? "UTC")
    .meta({ description: "For times in a form that people read. Absent: UTC", example: "Europe/Berlin" }),
});
export type CreateExportBody = z.output<typeof CreateExportBody>;

export const ExportStatus = z.enum(["pending", "running", "completed", "failed", "canceled", "expired"]).meta({
  description: "`expired`: it was completed, and its file has been deleted",
});

export const Export = z.object({
  export_id: ExportId,
  status: ExportStatus,
  format: ExportFormat,
  filter: z.record(z.string(), z.string()),
  timezone: z.string(),
  created_at: z.iso.datetime(),
  finished_at: z.iso.datetime().nullable(),
  progress: z.object({
    chats: z.number().int().meta({ description: "Chats that are in the file so far" }),
    total: z.number().int().nullable().meta({ description: "Chats in all, when it began; null: not counted" }),
  }),
  rows: z.number().int().meta({ description: "Lines or rows in the file so far, without the head of a CSV file" }),
  bytes: z.number().int().meta({ description: "Of the file so far" }),
  sha256: z.string().nullable().meta({ description: "Of the file, in hexadecimal; null until it is completed" }),
  download_url: z.string().nullable().meta({ description: "Where the file is, for whoever has this address" }),
  expires_at: z.iso
    .datetime()
    .nullable()
    .meta({ description: "Until when `download_url` is valid. Ask again for another" }),
  available_until: z.iso.datetime().nullable().meta({ description: "When the file is deleted" }),
  error: z
    .object({ code: z.string(), message: z.string() })
    .nullable()
    .meta({ description: "Why it failed, or why its last attempt did while it is pending" }),
});
export type Export = z.infer<typeof Export>;
