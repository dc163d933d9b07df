import type { ChatError, ExportFileFormat } from "@scalai/chat";
import { useRef, useState } from "preact/hooks";
import { useApi } from "../api.ts";
import { timezone } from "../time.ts";
import { errorOf } from "../use-conversation.ts";
import { ErrorNotice } from "./notice.tsx";

const formats: Record<ExportFileFormat, string> = {
  txt: "Text",
  md: "Markdown",
  json: "JSON",
  csv: "CSV",
  pdf: "PDF",
};

/** The chat as a file, in a format of choice. */
export function ExportMenu({ chatId }: { chatId: string }) {
  const { client } = useApi();
  const [isBusy, setIsBusy] = useState(false);
  const [error, setError] = useState<ChatError>();
  const save = async (format: ExportFileFormat) => {
    setIsBusy(true);
    setError(undefined);
    try {
      const bytes = await client.chat(chatId).export(format, { as: "bytes", timezone });
      saveAs(`${chatId}.${format}`, bytes);
    } catch (failure) {
      setError(errorOf(failure));
    }
    setIsBusy(false);
  };
  return (
    <>
      {error && <ErrorNotice error={error} />}
      <select
        aria-label="Export this chat"
        class="export"
        value=""
        disabled={isBusy}
        onChange={({ currentTarget }) => {
          const format = currentTarget.value as ExportFileFormat; // the options have no other
          currentTarget.value = "";
          void save(format);
        }}
      >
        <option value="">{isBusy ? "Exporting …" : "Export"}</option>
        {Object.entries(formats).map(([format, label]) => (
          <option key={format} value={format}>
            {label}
          </option>
        ))}
      </select>
    </>
  );
}

function saveAs(name: string, bytes: ArrayBuffer): void {
  const url = URL.createObjectURL(new Blob([bytes]));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has the file once the click's task is over.
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** Deletes the chat after a confirmation, and goes back to the list. */
export function DeleteButton({ chatId }: { chatId: string }) {
  const { client } = useApi();
  const dialog = useRef<HTMLDialogElement>(null);
  const [atRetell, setAtRetell] = useState(false);
  const [isBusy, setIsBusy] = useState(false);
  const [error, setError] = useState<ChatError>();
  const remove = async () => {
    setIsBusy(true);
    setError(undefined);
    try {
      await client.chat(chatId).delete({ atRetell });
      location.replace("#/chats");
    } catch (failure) {
      setError(errorOf(failure));
      setIsBusy(false);
    }
  };
  return (
    <>
      <button type="button" class="danger" onClick={() => dialog.current?.showModal()}>
        Delete
      </button>
      <dialog ref={dialog} class="card" aria-labelledby="delete-title">
        <div class="stack">
          <h2 id="delete-title">Delete this chat?</h2>
          <p>Its messages and all that is known of it are removed. This cannot be undone.</p>
          <label class="check">
            <input
              type="checkbox"
              checked={atRetell}
              onChange={({ currentTarget }) => setAtRetell(currentTarget.checked)}
            />
            Delete it at Retell, too
          </label>
          {error && <ErrorNotice error={error} />}
          <div class="row">
            <button type="button" onClick={() => dialog.current?.close()}>
              Keep it
            </button>
            <button type="button" class="danger" disabled={isBusy} onClick={() => void remove()}>
              {isBusy ? "Deleting …" : "Delete the chat"}
            </button>
          </div>
        </div>
      </dialog>
    </>
  );
}
