import { createSHA256, type IHasher } from "hash-wasm";
import type { TenantContext } from "../../access/tenant.ts";
import type { ClaimedJob } from "../../jobs/model.ts";
import type { JobKind, Step } from "../../jobs/run.ts";
import { ApiError } from "../../platform/errors.ts";
import { files } from "../../platform/files/files.ts";
import type { Files } from "../../platform/files/model.ts";
import { clockIn } from "../../platform/zone.ts";
import { Cursor, cursorAfter, type Position } from "../cursor.ts";
import { filterOf } from "../find/filter.ts";
import { matchOf } from "../find/match.ts";
import type { ChatSnapshot } from "../model.ts";
import { wholeTranscript } from "../read.ts";
import { count, type Scope, scan } from "../store/scan.ts";
import { retellAheadMs } from "../timing.ts";
import { csvHead, csvRows } from "./csv.ts";
import { type ExportInput, type ExportResult, type ExportState, fileOf } from "./exports.ts";

type Job = ClaimedJob<ExportInput, ExportState>;

/** Of a part. S3 takes no smaller one than 5 MB, and 10,000 parts at most: 80 GB. */
const partBytes = 8_000_000;

/**
 * An export of many chats. Its steps: begin the upload; write a part, again and again; finish the file. The state of a
 * step is stored only if this worker still holds the job, and names everything of the file: the parts, the position in
 * the list, and the state of the checksum. So the next worker goes on exactly after the last part that counts.
 */
export const exportJob: JobKind<ExportInput, ExportState, ExportResult> = {
  async step(job, tenant) {
    const { state } = job;
    if (!state) return { state: await begin(job, tenant) };
    return state.isWhole ? finish(job, state) : { state: await writePart(job, state, tenant) };
  },

  async ended(job, tenant, outcome) {
    if (outcome === "failed") {
      const discarded = storeOf().discard(fileOf(job), job.state?.upload);
      await discarded.catch((error) => tenant.log.warn("What a failed export has written was not deleted", error));
    }
  },
};

/** Chats that begin after the job are left out, so that it ends. */
const scopeOf = ({ input, createdAt }: Job, tenant: TenantContext): Scope => ({
  ...matchOf(tenant, filterOf(Object.fromEntries(input.filter))),
  before: createdAt.getTime() + retellAheadMs,
});

async function begin(job: Job, tenant: TenantContext): Promise<ExportState> {
  const upload = await stored(storeOf().begin(fileOf(job)));
  const total = await count(tenant, scopeOf(job, tenant));
  const hash = stateOf((await createSHA256()).init());
  return { upload, parts: [], chats: 0, total, rows: 0, bytes: 0, hash };
}

async function writePart(job: Job, state: ExportState, tenant: TenantContext): Promise<ExportState> {
  const { input, attempt } = job;
  const part = new Part(input, state.parts.length === 0);
  const from = state.after === undefined ? undefined : Cursor.parse(state.after);
  const isWhole = await fill(part, scan(tenant, scopeOf(job, tenant), from));
  const bytes = part.content();

  // A worker that has lost the job may still be storing a part: with the attempt in it, no number is used twice, and
  // numbers still ascend.
  const number = state.parts.length + attempt;
  const done = await stored(storeOf().put(fileOf(job), state.upload, number, bytes));
  const hasher = (await createSHA256()).load(Buffer.from(state.hash, "base64")).update(bytes);
  return {
    ...state,
    parts: [...state.parts, done],
    chats: state.chats + part.keys.length,
    rows: state.rows + part.rows,
    bytes: state.bytes + bytes.length,
    hash: stateOf(hasher),
    ...(part.keys.length > 0 ? { after: cursorAfter(part.keys, from) } : {}),
    ...(isWhole ? { isWhole } : {}),
  };
}

/** Puts chats into a part until it is full. Returns whether there are no more. */
async function fill(part: Part, batches: AsyncGenerator<ChatSnapshot[]>): Promise<boolean> {
  for await (const batch of batches) {
    for (const chat of batch) {
      if (part.bytes >= partBytes) return false;
      part.add(chat);
    }
  }
  return true;
}

async function finish(job: Job, state: ExportState): Promise<Step<ExportState, ExportResult>> {
  const { upload, parts, chats, rows, bytes, hash } = state;
  await stored(storeOf().finish(fileOf(job), upload, parts));
  const sha256 = (await createSHA256()).load(Buffer.from(hash, "base64")).digest("hex");
  return { result: { chats, rows, bytes, sha256 } };
}

/** What a part of the file will contain. */
class Part {
  bytes = 0;
  rows = 0;
  /** By what its chats are sorted, in their order. */
  readonly keys: Pick<Position, "start_timestamp" | "chat_id">[] = [];
  readonly #pieces: Buffer[] = [];
  readonly #textOf: (chat: ChatSnapshot) => { text: string; rows: number };

  constructor({ format, timezone }: ExportInput, isFirst: boolean) {
    const clock = clockIn(timezone);
    this.#textOf =
      format === "csv"
        ? (chat) => csvRows(wholeTranscript(chat), clock)
        : (chat) => ({ text: `${JSON.stringify(wholeTranscript(chat))}\n`, rows: 1 });
    if (isFirst && format === "csv") this.#push(csvHead());
  }

  add(chat: ChatSnapshot): void {
    const { text, rows } = this.#textOf(chat);
    this.#push(text);
    this.rows += rows;
    const { start_timestamp, chat_id } = chat;
    this.keys.push({ start_timestamp, chat_id });
  }

  #push(text: string): void {
    const piece = Buffer.from(text);
    this.#pieces.push(piece);
    this.bytes += piece.length;
  }

  content(): Buffer {
    return Buffer.concat(this.#pieces);
  }
}

const stateOf = (hasher: IHasher) => Buffer.from(hasher.save()).toString("base64");

function storeOf(): Files {
  const store = files();
  if (!store) throw new ApiError("EXPORTS_UNAVAILABLE");
  return store;
}

/** @throws EXPORT_FAILED when the store fails */
function stored<T>(work: Promise<T>): Promise<T> {
  return work.catch((cause) => {
    throw new ApiError("EXPORT_FAILED", { cause });
  });
}
