import type { Actor } from "../../access/membership.ts";
import type { TenantContext } from "../../access/tenant.ts";
import type { StoredJob } from "../../jobs/model.ts";
import { enqueue } from "../../jobs/queue.ts";
import * as jobs from "../../jobs/store.ts";
import { ApiError, errors } from "../../platform/errors.ts";
import { files } from "../../platform/files/files.ts";
import { fileMs } from "../../platform/files/model.ts";
import type { IdempotencyKey } from "../model.ts";
import type { CreateExportBody, Export, ExportFormat } from "./schema.ts";

/** The kind of these jobs. */
export const exportKind = "export";

/** An export that is asked for while so many of the subaccount are unfinished is refused. */
const maxUnfinished = 3;
const busyRetrySeconds = 60;

/** How long a link to a file is valid. */
const linkSeconds = 15 * 60;
/** The newest exports are listed, of the 30 days that their documents stay. */
const maxListed = 100;

/** What an export was asked for. */
export interface ExportInput {
  /** Names and texts: a name may have a dot, which a field of MongoDB should not. */
  filter: [name: string, text: string][];
  format: ExportFormat;
  timezone: string;
}

/** Where an export is: what is in its parts, and where the next one begins. */
export interface ExportState {
  upload: string;
  parts: { number: number; etag: string }[];
  /** Chats in the parts, and in all when it began; null: not counted. */
  chats: number;
  total: number | null;
  rows: number;
  bytes: number;
  /** The state of the sha256 of the parts, in base64. */
  hash: string;
  /** The cursor of the list after the last chat in the parts. Absent at the beginning. */
  after?: string;
  /** The last part is stored: only finishing is left. */
  isWhole?: true;
}

export interface ExportResult extends Pick<ExportState, "chats" | "rows" | "bytes"> {
  sha256: string;
}

export type ExportJob = StoredJob<ExportInput, ExportState, ExportResult>;

/**
 * Asks for an export. With an Idempotency-Key, the job's id is the key's digest, so that a repeat finds the job.
 *
 * @throws EXPORTS_UNAVAILABLE, TOO_MANY_EXPORTS, IDEMPOTENCY_KEY_REUSED
 */
export async function createExport(
  tenant: TenantContext,
  { filter, format, timezone }: CreateExportBody,
  by: { actor: Actor; operationId: string; idempotency: IdempotencyKey | undefined },
): Promise<{ job: ExportJob; isReplay: boolean }> {
  if (!files()) throw new ApiError("EXPORTS_UNAVAILABLE");
  const id = `exp_${(by.idempotency?.id ?? crypto.randomUUID().replaceAll("-", "")).slice(0, 32)}`;
  const hash = by.idempotency?.hash;
  const earlier = by.idempotency && (await jobs.get(tenant, id, exportKind));
  if (earlier) return replayOf(earlier as ExportJob, hash);

  if ((await jobs.countUnfinished(tenant, exportKind)) >= maxUnfinished)
    throw new ApiError("TOO_MANY_EXPORTS", { retryAfter: busyRetrySeconds });
  const input: ExportInput = { filter: Object.entries(filter), format, timezone };
  const { actor, operationId } = by;
  const { job, isNew } = await jobs.insert(tenant, {
    _id: id,
    kind: exportKind,
    input,
    hash,
    createdBy: actor.id,
    operationId,
  });
  if (!isNew) return replayOf(job as ExportJob, hash);
  await enqueue({ subaccountId: tenant.subaccountId, jobId: id, kind: exportKind }, tenant.log);
  return { job: job as ExportJob, isReplay: false };
}

function replayOf(job: ExportJob, hash: string | undefined) {
  if (job.hash !== hash) throw new ApiError("IDEMPOTENCY_KEY_REUSED");
  return { job, isReplay: true };
}

/** @throws EXPORT_NOT_FOUND, also for another tenant's */
export async function getExport(tenant: TenantContext, exportId: string): Promise<ExportJob> {
  const job = await jobs.get(tenant, exportId, exportKind);
  if (!job) throw new ApiError("EXPORT_NOT_FOUND");
  return job as ExportJob;
}

/** The newest exports of a subaccount, the newest first. */
export async function listExports(tenant: TenantContext): Promise<ExportJob[]> {
  return (await jobs.newest(tenant, exportKind, maxListed)) as ExportJob[];
}

/**
 * Cancels an export that is not finished, and deletes the file of one that is. Doing it twice does no harm.
 *
 * @throws EXPORT_NOT_FOUND
 */
export async function cancelExport(tenant: TenantContext, exportId: string): Promise<ExportJob> {
  const job = (await jobs.cancel(tenant, exportId, exportKind)) as ExportJob | null;
  if (!job) throw new ApiError("EXPORT_NOT_FOUND");
  // A file that cannot be deleted now is deleted by the store within a day.
  const discarded = files()?.discard(fileOf(job), job.state?.upload);
  await discarded?.catch((error) =>
    tenant.log.warn("The file of an export was not deleted", error, { jobId: job._id }),
  );
  if (job.status !== "completed") return job;
  return (await jobs.expire(tenant, job)) as ExportJob;
}

/** Under its subaccount, so that all files of a subaccount can be found. */
export const fileOf = ({ _id, subaccountId, input }: Pick<ExportJob, "_id" | "subaccountId" | "input">) =>
  `exports/${subaccountId}/${_id}.${input.format}`;

const mediaTypes: Record<ExportFormat, string> = {
  jsonl: "application/x-ndjson; charset=utf-8",
  csv: "text/csv; charset=utf-8",
};

/** An export as clients see it. Each call makes a new link to the file. */
export async function toExport(job: ExportJob): Promise<Export> {
  const { input, state, result, error, finishedAt } = job;
  const deletedAt = job.status === "completed" && finishedAt ? finishedAt.getTime() + fileMs : undefined;
  const leftMs = (job.fileGone ? 0 : (deletedAt ?? 0)) - Date.now();
  const isThere = leftMs > 0;
  const seconds = Math.min(linkSeconds, Math.floor(leftMs / 1_000));
  const iso = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());
  const link = isThere
    ? await files()?.link(fileOf(job), {
        seconds,
        saveAs: `chats-${job.createdAt.toISOString().slice(0, 10)}-${job._id.slice(-6)}.${input.format}`,
        type: mediaTypes[input.format],
      })
    : undefined;
  const done = result ?? state;
  return {
    export_id: job._id,
    status: job.status === "completed" && !isThere ? "expired" : job.status,
    format: input.format,
    filter: Object.fromEntries(input.filter),
    timezone: input.timezone,
    created_at: job.createdAt.toISOString(),
    finished_at: iso(finishedAt?.getTime()),
    progress: { chats: done?.chats ?? 0, total: result?.chats ?? state?.total ?? null },
    rows: done?.rows ?? 0,
    bytes: done?.bytes ?? 0,
    sha256: result?.sha256 ?? null,
    download_url: link ?? null,
    expires_at: link ? iso(Date.now() + 1_000 * seconds) : null,
    available_until: isThere ? iso(deletedAt) : null,
    error: error ? { code: error.code, message: errors[error.code].message } : null,
  };
}
