import type { ChatError, Export, ExportFormat } from "@scalai/chat";
import { useCallback, useEffect, useState } from "preact/hooks";
import { useApi } from "../api.ts";
import { filterLabels, filterOf } from "../filters.ts";
import { FilterEditor } from "../parts/filters.tsx";
import { ErrorNotice } from "../parts/notice.tsx";
import type { Place } from "../router.ts";
import { dateTime, timezone } from "../time.ts";
import { errorOf } from "../use-conversation.ts";

const [ACTIVE_POLL_MS, IDLE_POLL_MS] = [2_000, 60_000];
const isActive = ({ status }: Export) => status === "pending" || status === "running";

/** Exports of many chats: a new one with the filters of the address, and those that there are. */
export function ExportsPage({ query }: Pick<Place, "query">) {
  const { client } = useApi();
  const [exports, setExports] = useState<Export[]>();
  const [error, setError] = useState<ChatError>();
  const [round, setRound] = useState(0);

  // Also when all are done: a link is valid for minutes, and each answer has new ones.
  useEffect(() => {
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout>;
    const read = async () => {
      try {
        const { exports: now } = await client.exports.list({ signal: stop.signal });
        setExports(now);
        setError(undefined);
        timer = setTimeout(read, now.some(isActive) ? ACTIVE_POLL_MS : IDLE_POLL_MS);
      } catch (failure) {
        if (!stop.signal.aborted) setError(errorOf(failure));
      }
    };
    void read();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [client, round]);
  const again = useCallback(() => setRound((before) => before + 1), []);

  return (
    <div class="page">
      <div class="page-head">
        <h1 tabIndex={-1}>Exports</h1>
      </div>
      <div class="stack">
        <FilterEditor query={query} page="#/exports" />
        <NewExport key={query.toString()} query={query} onCreated={again} />
        {error && <ErrorNotice error={error} onRetry={again} />}
        {exports?.length === 0 && (
          <div class="card empty">
            <strong>No exports yet</strong>
          </div>
        )}
        {exports && exports.length > 0 && (
          <ul class="stack" aria-label="Exports">
            {exports.map((one) => (
              <ExportItem key={one.export_id} one={one} onCanceled={again} />
            ))}
          </ul>
        )}
      </div>
    </div>
  );
}

function NewExport({ query, onCreated }: Pick<Place, "query"> & { onCreated: () => void }) {
  const { client } = useApi();
  const [format, setFormat] = useState<ExportFormat>("csv");
  const [key, setKey] = useState(() => crypto.randomUUID());
  const [isBusy, setIsBusy] = useState(false);
  const [error, setError] = useState<ChatError>();
  const create = async () => {
    setIsBusy(true);
    setError(undefined);
    try {
      await client.exports.create({ format, filter: filterOf(query), timezone }, { key });
      setKey(crypto.randomUUID());
      onCreated();
    } catch (failure) {
      const failed = errorOf(failure);
      setError(failed);
      // Under the same key nothing is done twice; what has failed is another request.
      if (failed.outcome === "failed") setKey(crypto.randomUUID());
    }
    setIsBusy(false);
  };
  return (
    <>
      <div class="row">
        <select
          class="export"
          aria-label="Format"
          value={format}
          onChange={({ currentTarget }) => {
            setFormat(currentTarget.value as ExportFormat); // the options have no other
            setKey(crypto.randomUUID());
          }}
        >
          <option value="csv">CSV, a row for each message</option>
          <option value="jsonl">JSON lines, a line for each chat</option>
        </select>
        <button type="button" class="primary" disabled={isBusy} onClick={() => void create()}>
          {isBusy ? "Asking …" : "Export these chats"}
        </button>
      </div>
      {error && <ErrorNotice error={error} />}
    </>
  );
}

function ExportItem({ one, onCanceled }: { one: Export; onCanceled: () => void }) {
  const { client } = useApi();
  const [isBusy, setIsBusy] = useState(false);
  const [failed, setFailed] = useState<ChatError>();
  const { export_id: id, status, format, filter, progress, download_url: url, error } = one;
  const cancel = async () => {
    setIsBusy(true);
    setFailed(undefined);
    try {
      await client.exports.cancel(id);
      onCanceled();
    } catch (failure) {
      setFailed(errorOf(failure));
    }
    setIsBusy(false);
  };
  const filters = Object.entries(filter).map(([name, text]) => `${filterLabels[name] ?? name}: ${readable(text)}`);
  return (
    <li class="card stack">
      <div class="row spread">
        <span class="row">
          <strong>{format.toUpperCase()}</strong>
          <span class={`badge ${tones[status] ?? "muted"}`}>{status}</span>
          <span class="muted small">{dateTime(Date.parse(one.created_at))}</span>
        </span>
        <span class="row">
          {url && (
            <a class="button" href={url} download={`${id}.${format}`}>
              Download
            </a>
          )}
          {(isActive(one) || status === "completed") && (
            <button type="button" class="danger" disabled={isBusy} onClick={() => void cancel()}>
              {isActive(one) ? "Cancel" : "Delete the file"}
            </button>
          )}
        </span>
      </div>
      <span class="muted small">{filters.join("; ") || "All chats"}</span>
      {isActive(one) && progress.total !== null && (
        <progress aria-label="Chats in the file" value={progress.chats} max={Math.max(progress.total, 1)} />
      )}
      <span class="small">
        {progress.chats.toLocaleString()}
        {progress.total !== null && ` of ${progress.total.toLocaleString()}`} chats, {one.bytes.toLocaleString()} bytes
        {one.available_until && `, until ${dateTime(Date.parse(one.available_until))}`}
      </span>
      {error && <span class="bad small">{error.message}</span>}
      {failed && <ErrorNotice error={failed} />}
    </li>
  );
}

/** Times are stored as epoch ms. */
const readable = (text: string) => (/^\d{12,}$/.test(text) ? dateTime(Number(text)) : text);

const tones: Record<string, string> = { pending: "warn", running: "warn", completed: "good", failed: "bad" };
