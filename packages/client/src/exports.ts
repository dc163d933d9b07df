import { answered } from "./answer.ts";
import { ChatError, errorOf } from "./errors.ts";
import { filterTexts } from "./query.ts";
import { retryDelay } from "./retry.ts";
import { type Ask, contentOf, type Fetch, type FileForm, type Transport } from "./transport.ts";
import type { Answered, CreateExport, Export, Meta } from "./types.ts";
import { type Bounds, defaultTimeouts, type Limits, sleep, uuid, within } from "./wait.ts";

/** `timeoutMs` is for all of the waiting. Default: an hour. */
export interface FinishOptions extends Limits {
  /** Told of the export each time that it is asked for. It must not throw. */
  onProgress?: (now: Answered<Export>) => void;
}
export interface DownloadOptions<Form extends FileForm = FileForm> extends FinishOptions {
  /** Default: `bytes`. */
  as?: Form;
}

/** The export as it is now, and what comes of it. */
export interface Exporting extends Promise<Answered<Export>> {
  /**
   * Waits until the file is there, and resolves with the export and a new `download_url`.
   *
   * @throws ChatError with the code EXPORT_FAILED, EXPORT_CANCELED or EXPORT_EXPIRED
   */
  finished(options?: FinishOptions): Promise<Answered<Export>>;
  /**
   * Waits until the file is there, and reads it into memory; a new link replaces one that has expired. Bytes are
   * compared with the export's checksum, except where `crypto.subtle` is missing.
   */
  download(options: DownloadOptions<"text"> & { as: "text" }): Promise<string>;
  download(options?: DownloadOptions<"bytes">): Promise<ArrayBuffer>;
}

/** Exports of many chats, written in the background. They need the permission admin. */
export interface Exports {
  /** Asks for an export, once. `key` repeats an earlier request. */
  create(input: CreateExport, options?: Limits & { key?: string }): Exporting;
  /** An export that was asked for before, perhaps before a reload. */
  get(exportId: string, options?: Limits): Exporting;
  /** The newest 100, newest first. */
  list(options?: Limits): Promise<{ exports: Export[]; readonly meta: Meta }>;
  /** Cancels an export, or deletes its file. Twice does no harm. */
  cancel(exportId: string, options?: Limits): Promise<Answered<Export>>;
}

const downloadAttempts = 8;
const [firstPollMs, maxPollMs] = [500, 10_000];

export function exportsOf(transport: Transport, fetch: Fetch): Exports {
  const request = (ask: Ask, { signal, timeoutMs }: Limits = {}) => {
    const defaultMs = ask.method === "GET" ? defaultTimeouts.readMs : defaultTimeouts.writeMs;
    return transport.request(ask, { signal, deadline: Date.now() + (timeoutMs ?? defaultMs) });
  };
  const one = (method: "GET" | "DELETE", exportId: string) => {
    const operation = method === "GET" ? "exports-get" : "exports-cancel";
    return { operation, method, path: `exports/${encodeURIComponent(exportId)}` } as const;
  };

  async function create({ filter = {}, ...input }: CreateExport, key: string, limits: Limits) {
    const body = { ...input, filter: filterTexts(filter) };
    const ask = { operation: "exports-create", method: "POST", path: "exports", body, key } as const;
    return answered<Export>(await request(ask, limits));
  }

  async function finish(now: Answered<Export>, { bounds, onProgress }: { bounds: Bounds } & FinishOptions) {
    for (let waitMs = firstPollMs; ; waitMs = Math.min(waitMs * 1.5, maxPollMs)) {
      onProgress?.(now);
      if (now.status === "completed" && now.download_url) return now;
      if (now.status !== "pending" && now.status !== "running") throw overOf(now);
      await sleep(Math.min(waitMs, bounds.deadline - Date.now()), bounds.signal);
      now = answered<Export>(await transport.request(one("GET", now.export_id), bounds));
    }
  }

  /** Each attempt but the first has a link of its own. */
  async function download(first: Answered<Export>, form: FileForm, options: { bounds: Bounds } & FinishOptions) {
    const { bounds } = options;
    let now = first;
    for (let number = 1; ; number++) {
      const done = await finish(now, options);
      const file = await fileOf(done, form, bounds).catch(asDownloadError);
      if (!(file instanceof ChatError)) return file;
      const waitMs = retryDelay(file, number);
      if (waitMs === undefined || number === downloadAttempts || Date.now() + waitMs >= bounds.deadline) throw file;
      await sleep(waitMs, bounds.signal);
      now = answered<Export>(await transport.request(one("GET", done.export_id), bounds));
    }
  }

  async function fileOf({ download_url, sha256 }: Export, form: FileForm, bounds: Bounds) {
    const controller = new AbortController();
    const reading = (async () => {
      const response = await fetch(download_url ?? "", { method: "GET", headers: {}, signal: controller.signal });
      if (response.status !== 200) throw unreadable(`The file could not be read: HTTP ${response.status}`);
      return contentOf(response, form);
    })();
    const file = await within(reading, bounds, () => controller.abort());
    if (typeof file === "string" || (await isWhole(file, sha256))) return file;
    throw unreadable("The file is not the one that was exported");
  }

  function exporting(first: Promise<Answered<Export>>): Exporting {
    const waiting = async ({ signal, timeoutMs = defaultTimeouts.exportMs, onProgress }: FinishOptions) => {
      const bounds = { signal, deadline: Date.now() + timeoutMs };
      return [await within(first, bounds), { bounds, ...(onProgress && { onProgress }) }] as const;
    };
    return Object.assign(first, {
      finished: async (options: FinishOptions = {}) => finish(...(await waiting(options))),
      download: async ({ as = "bytes", ...options }: DownloadOptions = {}) => {
        const [now, how] = await waiting(options);
        return download(now, as, how);
      },
    }) as Exporting; // which form has which type
  }

  return {
    create: (input, { key = uuid(), ...limits } = {}) => exporting(create(input, key, limits)),
    get: (exportId, limits) => exporting(request(one("GET", exportId), limits).then(answered<Export>)),
    list: async (limits) => {
      const ask = { operation: "exports-list", method: "GET", path: "exports" } as const;
      const { data, meta } = await request(ask, limits);
      return { exports: data as Export[], meta: meta as Meta };
    },
    cancel: async (exportId, limits) => answered<Export>(await request(one("DELETE", exportId), limits)),
  };
}

function overOf({ status, error, export_id, meta }: Answered<Export>): ChatError {
  const code = error && status === "failed" ? error.code : `EXPORT_${status.toUpperCase()}`;
  const message = error?.message ?? `The export is ${status}`;
  return errorOf({ code, message, operationId: meta.operationId, details: { export_id } });
}

const unreadable = (message: string) => errorOf({ code: "UNREADABLE_ANSWER", message });

function asDownloadError(cause: unknown): ChatError {
  if (cause instanceof ChatError) return cause;
  return errorOf({ code: "NETWORK_ERROR", message: "The file did not arrive", cause });
}

async function isWhole(bytes: ArrayBuffer, sha256: string | null): Promise<boolean> {
  const { crypto } = globalThis as { crypto?: Partial<typeof globalThis.crypto> };
  const subtle = crypto?.subtle; // missing in React Native, and in pages without HTTPS
  if (!subtle || !sha256) return true;
  const digest = new Uint8Array(await subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("") === sha256;
}
