import type { ChatError, Message, Transcript } from "@scalai/chat";
import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { useApi } from "../api.ts";
import { DeleteButton, ExportMenu } from "../parts/chat-actions.tsx";
import { Faults } from "../parts/faults.tsx";
import { Json } from "../parts/json.tsx";
import { MessageItem, OutgoingItem } from "../parts/messages.tsx";
import { ErrorNotice, Notice, useWaiting, WaitingNotice } from "../parts/notice.tsx";
import { Requests } from "../parts/requests.tsx";
import { ChatStatusBadge } from "../parts/status.tsx";
import { Tabs } from "../parts/tabs.tsx";
import { dateTime, duration } from "../time.ts";
import { errorOf, useConversation } from "../use-conversation.ts";

type Panel = "talk" | "details" | "requests" | "retell" | "json";

/** One chat: its messages, a field to write in while it goes on, and all that is known of it. */
export function ChatPage({ chatId, seq }: { chatId: string; seq: number | undefined }) {
  const { config } = useApi();
  const [panel, setPanel] = useState<Panel>(isSmall() ? "talk" : "details");
  const [withTools, setWithTools] = useState(false);
  const conversation = useConversation(chatId, withTools);
  const { view, details } = conversation;
  const status = view?.chat_status;
  // As the API gives them.
  const messages = view?.messages.map(({ isOverdue: _, ...message }) => message) ?? [];
  const panels: { name: Panel; label: string; isForSmall?: boolean }[] = [
    { name: "talk", label: "Conversation", isForSmall: true },
    { name: "details", label: "Details" },
    { name: "requests", label: "Requests" },
    ...(config.local?.faults ? [{ name: "retell" as const, label: "Retell" }] : []),
    { name: "json", label: "JSON" },
  ];
  return (
    <div class="chat" data-panel={panel}>
      <div class="chat-head">
        <div class="row">
          <h1 tabIndex={-1} class="mono">
            {chatId}
          </h1>
          <ChatStatusBadge status={status} />
        </div>
        <div class="row">
          <label class="check">
            <input
              type="checkbox"
              checked={withTools}
              onChange={({ currentTarget }) => setWithTools(currentTarget.checked)}
            />
            Tool calls
          </label>
          {status === "ongoing" && <EndButton chatId={chatId} />}
          {status && <ExportMenu chatId={chatId} />}
          {status && <DeleteButton chatId={chatId} />}
        </div>
      </div>
      <Tabs tabs={panels} current={panel} onChange={setPanel} />
      <Conversation {...conversation} chatId={chatId} seq={seq} />
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it */}
      <section class="panel" role="tabpanel" id="panel" aria-labelledby={`tab-${panel}`} tabIndex={0}>
        {(panel === "details" || panel === "talk") &&
          (details ? <Details chat={details} messages={messages} /> : <Bones />)}
        {panel === "requests" && <Requests />}
        {panel === "retell" && <Faults />}
        {panel === "json" &&
          (details ? <Json label="The chat as the API gives it" value={{ ...details, messages }} /> : <Bones />)}
      </section>
    </div>
  );
}

/** Whether the conversation and the panel share one place, as in the stylesheet. */
const isSmall = () => matchMedia("(max-width: 60rem)").matches;

type ConversationProps = ReturnType<typeof useConversation> & {
  chatId: string;
  /** The message to begin at; absent: the last. */
  seq?: number | undefined;
};

function Conversation({ view, seq, ...rest }: ConversationProps) {
  const { outgoing, error, send } = rest;
  const messages = view?.messages ?? [];
  const log = useRef<HTMLElement>(null);
  const shown = new Set(messages.map((message) => message.client_message_id));
  const unseen = outgoing.filter(({ key }) => !shown.has(key));
  const count = messages.length + unseen.length;
  const hasMarked = messages.some((message) => message.seq === seq && seq !== undefined);
  const isAtEnd = useRef(seq === undefined);
  useLayoutEffect(() => {
    if (log.current && isAtEnd.current) log.current.scrollTop = log.current.scrollHeight;
  }, [count]);
  useLayoutEffect(() => {
    if (hasMarked) log.current?.querySelector(".found")?.scrollIntoView({ block: "center" });
  }, [hasMarked]);
  const noteScroll = ({ currentTarget: { scrollTop, scrollHeight, clientHeight } }: { currentTarget: HTMLElement }) => {
    isAtEnd.current = scrollHeight - scrollTop - clientHeight < 80;
  };

  return (
    <div class="talk">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it */}
      <section class="log" role="log" ref={log} onScroll={noteScroll} aria-label="Conversation" tabIndex={0}>
        {!view && !error && <Bones />}
        {view && !view.error && count === 0 && (
          <div class="empty">
            <strong>Nothing has been said yet</strong>
            {view.chat_status === "ongoing" && "This agent waits for the first message."}
          </div>
        )}
        <ol>
          {messages.map((message, index) => (
            <MessageItem
              key={message.message_id ?? message.seq ?? index}
              message={message}
              isFound={seq !== undefined && message.seq === seq}
            />
          ))}
          {unseen.map((message) => (
            <OutgoingItem key={message.key} message={message} />
          ))}
        </ol>
      </section>
      <div class="composer">
        <Notices view={view} {...rest} />
        {view?.chat_status === "ongoing" && <Composer onSend={send} />}
        {view?.chat_status && view.chat_status !== "ongoing" && (
          <div class="row spread">
            <span class="muted">This chat is over.</span>
            <a class="button" href="#/">
              Start a new one
            </a>
          </div>
        )}
      </div>
    </div>
  );
}

/** Why something waits or has failed, nearest to where the next message is written. */
function Notices({ view, outgoing, error, send, drop, retry, chatId }: ConversationProps) {
  const ofChat = (url: string) => url.includes(`/${encodeURIComponent(chatId)}/`);
  const sending = useWaiting(({ operation, url }) => operation === "send" && ofChat(url));
  const failed = outgoing.filter((message) => message.error);
  const isSending = outgoing.some((message) => !message.error && !message.isAnswered);
  return (
    <div class="stack">
      {error ? <ErrorNotice error={error} onRetry={retry} /> : view?.error && <ErrorNotice error={view.error} />}
      {view?.stale && !error && !view.error && (
        <Notice tone="warn" title="This may be out of date">
          Retell does not answer. You see what was stored last.
        </Notice>
      )}
      {isSending && sending && <WaitingNotice request={sending} />}
      {failed.map(({ key, content, error }) => (
        <ErrorNotice
          key={key}
          error={error as ChatError}
          onRetry={() => void send(content, key)}
          action={
            <button type="button" onClick={() => drop(key)}>
              Give up
            </button>
          }
        />
      ))}
    </div>
  );
}

function Composer({ onSend }: { onSend: (content: string) => Promise<void> }) {
  const [text, setText] = useState("");
  const field = useRef<HTMLTextAreaElement>(null);
  useEffect(() => field.current?.focus(), []);
  const submit = (event: Event) => {
    event.preventDefault();
    if (text.trim() === "") return;
    void onSend(text);
    setText("");
    field.current?.focus();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    // Input methods confirm with Enter, too.
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) submit(event);
  };
  return (
    <form onSubmit={submit}>
      <div class="field">
        <label class="sr-only" for="message">
          Message
        </label>
        <textarea
          id="message"
          ref={field}
          rows={1}
          maxLength={10_000}
          placeholder="Write a message"
          title="Enter sends, Shift and Enter begins a new line"
          dir="auto"
          value={text}
          onInput={({ currentTarget }) => setText(currentTarget.value)}
          onKeyDown={onKeyDown}
        />
      </div>
      <button type="submit" class="primary" disabled={text.trim() === ""}>
        Send
      </button>
    </form>
  );
}

function EndButton({ chatId }: { chatId: string }) {
  const { client } = useApi();
  const [isBusy, setIsBusy] = useState(false);
  const [error, setError] = useState<ChatError>();
  const end = async () => {
    setIsBusy(true);
    setError(undefined);
    try {
      await client.chat(chatId).end();
    } catch (failure) {
      setError(errorOf(failure));
    }
    setIsBusy(false);
  };
  return (
    <>
      {error && <ErrorNotice error={error} />}
      <button type="button" class="danger" disabled={isBusy} onClick={end}>
        {isBusy ? "Ending …" : "End the chat"}
      </button>
    </>
  );
}

function Details({ chat, messages }: { chat: Transcript; messages: Message[] }) {
  const { start_timestamp: start, end_timestamp: end, chat_analysis: analysis, chat_cost: cost } = chat;
  return (
    <>
      <Section title="Chat">
        <Facts
          facts={{
            Agent: chat.agent_id,
            Started: dateTime(start),
            Ended: dateTime(end),
            Duration: start !== null && end !== null ? duration(end - start) : null,
            Messages: messages.filter(isCounted).length,
            Cost: costOf(cost),
          }}
        />
      </Section>
      <Section title="Analysis">
        {factsOf(analysis, chat.chat_status === "ongoing" ? "After the end." : "None yet.")}
      </Section>
      <Section title="Metadata">{factsOf(chat.metadata, "None.")}</Section>
      <Section title="Dynamic variables">{factsOf(chat.retell_llm_dynamic_variables, "None.")}</Section>
      <Section title="Collected variables">{factsOf(chat.collected_dynamic_variables, "None.")}</Section>
    </>
  );
}

/** As the API counts them in its lists. */
const isCounted = ({ role, delivery }: Message) => (role === "user" || role === "agent") && delivery !== "failed";

/** Retell gives US cents. */
function costOf(cost: Record<string, unknown> | null): string | null {
  const cents = cost?.combined_cost;
  return typeof cents === "number" ? `$${(cents / 100).toFixed(4)}` : null;
}

function Section({ title, children }: { title: string; children: ComponentChildren }) {
  return (
    <div class="section">
      <h2>{title}</h2>
      {children}
    </div>
  );
}

function factsOf(values: Record<string, unknown> | null, none: string) {
  if (!values || Object.keys(values).length === 0) return <p class="muted small">{none}</p>;
  return <Facts facts={values} />;
}

function Facts({ facts }: { facts: Record<string, unknown> }) {
  return (
    <dl class="facts">
      {Object.entries(facts).map(([name, value]) => (
        <div key={name} class="fact">
          <dt>{name}</dt>
          <dd>{textOf(value)}</dd>
        </div>
      ))}
    </dl>
  );
}

function textOf(value: unknown): string {
  if (value === null || value === undefined || value === "") return "–";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function Bones() {
  return (
    <div class="stack" role="status" aria-label="The chat is being read">
      {[70, 90, 60].map((width) => (
        <div key={width} class={`bone w${width}`} />
      ))}
    </div>
  );
}
