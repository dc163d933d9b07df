import type { ChatError, CreateChat } from "@scalai/chat";
import { useState } from "preact/hooks";
import { useApi } from "../api.ts";
import { ErrorNotice, useWaiting, WaitingNotice } from "../parts/notice.tsx";
import { chatHref, go } from "../router.ts";
import { errorOf } from "../use-conversation.ts";

/** Starts a chat with an agent. */
export function Talk() {
  const { client, config } = useApi();
  const agentIds = config.local?.demo?.agentIds ?? [];
  const [agentId, setAgentId] = useState(agentIds[0] ?? localStorage.getItem("agent") ?? "");
  const [variables, setVariables] = useState("");
  const [metadata, setMetadata] = useState("");
  const [problem, setProblem] = useState("");
  const [isBusy, setIsBusy] = useState(false);
  const [failed, setFailed] = useState<{ error: ChatError; input: CreateChat; key: string }>();
  const waiting = useWaiting(({ operation }) => operation === "create");

  const create = async (input: CreateChat, key: string = crypto.randomUUID()) => {
    setFailed(undefined);
    setIsBusy(true);
    try {
      const { chat_id } = await client.chats.create(input, { key });
      if (agentIds.length === 0) localStorage.setItem("agent", input.agentId);
      go(chatHref(chat_id));
    } catch (error) {
      setFailed({ error: errorOf(error), input, key });
      setIsBusy(false);
    }
  };
  const submit = (event: Event) => {
    event.preventDefault();
    try {
      const more = { ...variablesOf(variables), ...metadataOf(metadata) };
      setProblem("");
      void create({ agentId: agentId.trim(), ...more });
    } catch (error) {
      setProblem(error instanceof Error ? error.message : String(error));
    }
  };

  return (
    <div class="page narrow">
      <form class="card stack" onSubmit={submit}>
        <h1 tabIndex={-1}>Talk to an agent</h1>
        <div class="field">
          <label for="agent">Agent</label>
          {agentIds.length > 0 ? (
            <select id="agent" value={agentId} onChange={({ currentTarget }) => setAgentId(currentTarget.value)}>
              {agentIds.map((id) => (
                <option key={id}>{id}</option>
              ))}
            </select>
          ) : (
            <input
              id="agent"
              class="mono"
              required
              maxLength={128}
              autocomplete="off"
              spellcheck={false}
              value={agentId}
              onInput={({ currentTarget }) => setAgentId(currentTarget.value)}
            />
          )}
        </div>
        <details>
          <summary>Variables and metadata</summary>
          <div class="stack inset">
            <div class="field">
              <label for="variables">Dynamic variables, one in a line</label>
              <textarea
                id="variables"
                class="mono"
                rows={3}
                placeholder="customer_name = Ana"
                value={variables}
                onInput={({ currentTarget }) => setVariables(currentTarget.value)}
              />
            </div>
            <div class="field">
              <label for="metadata">Metadata, a JSON object</label>
              <textarea
                id="metadata"
                class="mono"
                rows={3}
                placeholder='{"crm_id": "C-99"}'
                value={metadata}
                onInput={({ currentTarget }) => setMetadata(currentTarget.value)}
              />
            </div>
          </div>
        </details>
        {problem && (
          <p class="bad" role="alert">
            {problem}
          </p>
        )}
        <div class="row">
          <button type="submit" class="primary" disabled={isBusy}>
            {isBusy ? "Starting …" : "Start a chat"}
          </button>
        </div>
        {isBusy && waiting && <WaitingNotice request={waiting} />}
        {failed && <ErrorNotice error={failed.error} onRetry={() => void create(failed.input, failed.key)} />}
      </form>
    </div>
  );
}

/** @throws An Error for people, about a line without `=`. */
function variablesOf(text: string): Pick<CreateChat, "retell_llm_dynamic_variables"> {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  const pairs = lines.map((line) => {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`A variable is a name, = and a value: “${line}” has none.`);
    return [line.slice(0, at).trim(), line.slice(at + 1).trim()];
  });
  return lines.length === 0 ? {} : { retell_llm_dynamic_variables: Object.fromEntries(pairs) };
}

/** @throws An Error for people. */
function metadataOf(text: string): Pick<CreateChat, "metadata"> {
  if (text.trim() === "") return {};
  try {
    return { metadata: JSON.parse(text) };
  } catch (error) {
    throw new Error(`The metadata is no JSON: ${error instanceof Error ? error.message : error}`);
  }
}
