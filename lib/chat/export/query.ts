import * as z from "zod";
import { TimeZone } from "../../platform/zone.ts";
import { TranscriptQuery } from "../schema.ts";

/** The formats of an exported chat, with their media types. */
export const mediaTypes = {
  txt: "text/plain",
  md: "text/markdown",
  json: "application/json",
  csv: "text/csv",
  pdf: "application/pdf",
} as const;

export const ExportFileFormat = z.enum(Object.keys(mediaTypes) as [keyof typeof mediaTypes]).meta({
  description: "`json`: the `data` of the transcript. `csv`: a row for each message. The others are for people",
});
export type ExportFileFormat = z.infer<typeof ExportFileFormat>;

const { include, consistency } = TranscriptQuery.shape;

export const ExportQuery = z.object({
  format: ExportFileFormat.default("txt"),
  timezone: TimeZone.default("UTC").meta({
    description: "For the times in it, which have their offset from UTC. In `json` they are epoch milliseconds",
    example: "Europe/Berlin",
  }),
  include,
  consistency,
});
