import type { ChatError } from "@scalai/chat";
import type { ComponentChildren } from "preact";
import { curlOf, type LoggedRequest, useApi } from "../api.ts";
import { useStore } from "../store.ts";
import { duration, useCountdown } from "../time.ts";

type Tone = "warn" | "bad";

interface NoticeProps {
  tone: Tone;
  title: string;
  children?: ComponentChildren;
  action?: ComponentChildren;
  operationId?: string | undefined;
}

export function Notice({ tone, title, children, action, operationId }: NoticeProps) {
  return (
    <div class={`notice ${tone}`} role={tone === "bad" ? "alert" : "status"}>
      <div>
        <strong>{title}</strong>
        <div class="about">
          {children} {operationId && <OperationId id={operationId} />}
        </div>
      </div>
      {action && <div class="row">{action}</div>}
    </div>
  );
}

/** An error that a repeat alone does not mend, or that was repeated long enough. */
export function ErrorNotice({
  error,
  onRetry,
  action,
}: {
  error: ChatError;
  onRetry?: () => void;
  action?: ComponentChildren;
}) {
  const { tone, title, text } = explain(error);
  return (
    <Notice
      tone={tone}
      title={title}
      operationId={error.operationId}
      action={
        <>
          {onRetry && (
            <button type="button" onClick={onRetry}>
              Try again
            </button>
          )}
          {action}
        </>
      }
    >
      {text}
      {error.fields.map(({ field, message }) => (
        <p key={field}>
          <code>{field}</code>: {message}
        </p>
      ))}
    </Notice>
  );
}

/** Why a request waits, while the client repeats it by itself. */
export function WaitingNotice({ request, action }: { request: LoggedRequest; action?: ComponentChildren }) {
  const { retryInMs = 0, at, attempt } = request;
  const seconds = useCountdown(at + retryInMs);
  const { title, text } = explain({ code: request.code ?? "NETWORK_ERROR", status: request.status });
  const next = seconds > 0 ? `Attempt ${attempt + 1} in ${duration(seconds * 1000)}.` : `Attempt ${attempt + 1} …`;
  return (
    <Notice tone="warn" title={title} operationId={request.operationId} action={action}>
      {text} <span class="countdown">{next}</span>
    </Notice>
  );
}

/** The last attempt of a request that is being repeated. */
export function useWaiting(matches: (request: LoggedRequest) => boolean): LoggedRequest | undefined {
  const last = useStore(useApi().requests).find(matches);
  return last?.retryInMs === undefined ? undefined : last;
}

export function OperationId({ id }: { id: string }) {
  return (
    <CopyButton
      text={id}
      title="Copy the operationId, which finds this request in the logs"
      label={`op ${id.slice(0, 8)}`}
    />
  );
}

interface CopyProps {
  text: string;
  label: string;
  title: string;
}

export function CopyButton({ text, label, title }: CopyProps) {
  const copy = async ({ currentTarget: button }: { currentTarget: HTMLButtonElement }) => {
    await navigator.clipboard.writeText(text);
    button.dataset.copied = "";
    setTimeout(() => delete button.dataset.copied, 1_200);
  };
  return (
    <button type="button" class="plain copy" title={title} aria-label={`${title}: ${label}`} onClick={copy}>
      <span class="mono">{label}</span>
    </button>
  );
}

export function Status({ status }: Pick<LoggedRequest, "status">) {
  const tone = status === 0 || status >= 500 ? "bad" : status >= 400 ? "warn" : "good";
  return <strong class={`mono ${tone}`}>{status || "none"}</strong>;
}

/** The cost of one request, on one line. */
export function RequestLine({ request }: { request: LoggedRequest }) {
  return (
    <>
      <span>
        <Status {...request} /> {request.durationMs} ms
      </span>
      <OperationId id={request.operationId} />
      <CurlButton request={request} />
    </>
  );
}

export function CurlButton({ request }: { request: LoggedRequest }) {
  return <CopyButton text={curlOf(request)} label="curl" title="Copy as curl; set TOKEN before you run it" />;
}

/** What an error means to the person at the screen, and what they can do. */
export function explain(error: Pick<ChatError, "code"> & Partial<ChatError>): {
  tone: Tone;
  title: string;
  text: string;
} {
  const { code, status = 0, details = {}, message = "" } = error;
  const warn = (title: string, text: string) => ({ tone: "warn" as const, title, text });
  const bad = (title: string, text: string) => ({ tone: "bad" as const, title, text });
  switch (code) {
    case "CHAT_BUSY":
      return warn("The agent is still busy", "Another message is being answered in this chat.");
    case "REQUEST_IN_PROGRESS":
      return warn("An earlier attempt may still be running", "Nothing is sent twice.");
    case "RATE_LIMIT_EXCEEDED": {
      const whose = { user: "You have", subaccount: "This subaccount has", token: "This link has" }[
        String(details.limit)
      ];
      return warn(
        "Too many requests",
        `${whose ?? "You or this subaccount have"} used up the requests of this minute.`,
      );
    }
    case "PERMISSION_DENIED": {
      const { requiredPermission: needs, effectiveRole: role } = details;
      const text = needs ? `It needs the permission “${needs}”. Your role here: ${role ?? "none"}.` : message;
      return bad("You may not do this", text);
    }
    case "ACCESS_TOKEN_REQUIRED":
    case "INVALID_ACCESS_TOKEN":
      return bad("You are signed out", "The token is invalid or has expired. Sign in with a new one.");
    case "CHAT_ENDED":
      return warn("The chat has ended", "It takes no more messages. Start a new one.");
    case "CHAT_NOT_FOUND":
      return bad("There is no such chat", "This subaccount has no chat with that id.");
    case "AGENT_NOT_FOUND":
      return bad("There is no such agent", "This subaccount has no agent with that id.");
    case "VALIDATION_ERROR":
      return bad("Something in this request is not valid", "");
    case "NETWORK_ERROR":
    case "UNREADABLE_ANSWER":
      return warn("The API cannot be reached", "Nothing is lost: the request is repeated under the same key.");
    case "CONNECTION_FAILED":
      return warn("The database cannot be reached", "");
  }
  if (details.outcome === "undecided") {
    return bad(
      "It cannot be decided whether the agent got this",
      "Read the chat. If the message is missing, send it anew.",
    );
  }
  if (details.outcome === "unknown" || error.outcome === "unknown" || status === 504) {
    return warn(
      "No answer from the agent yet",
      "It may have reached the agent. Repeating it is safe: nothing is done twice.",
    );
  }
  if (/^(CHAT_CREATION|MESSAGE_SEND|CHAT_END|CHAT_RETRIEVE)_FAILED$/.test(code)) {
    return warn("The agent cannot be reached", "Retell does not answer, or has refused.");
  }
  if (code === "SUBACCOUNT_PAUSED") {
    return warn("This subaccount is paused", "An operator moves or restores its data. The client repeats the request.");
  }
  if (status >= 500) return bad("The API has a problem", message);
  return bad("That did not work", message);
}
