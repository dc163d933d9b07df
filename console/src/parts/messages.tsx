import type { ComponentChildren } from "preact";
import { type LoggedRequest, useApi } from "../api.ts";
import { ANSWER_MS, type ShownMessage } from "../conversation.ts";
import { useStore } from "../store.ts";
import { timeOfDay, useCountdown } from "../time.ts";
import type { Outgoing } from "../use-conversation.ts";
import { RequestLine } from "./notice.tsx";

/** A message of the transcript. */
export function MessageItem({ message, isFound }: { message: ShownMessage; isFound: boolean }) {
  const { role, content = "", created_timestamp, isOverdue, truncated, client_message_id: key } = message;
  const request = useRequest(role === "user" ? key : undefined);
  // The transcript may be older than the answer to the last attempt.
  const delivery = message.delivery && isRefused(request) ? "failed" : message.delivery;
  const isWaiting = delivery === "pending" && created_timestamp !== undefined;
  const secondsLeft = useCountdown(isWaiting ? created_timestamp + ANSWER_MS : undefined);
  const isUnconfirmed = (isWaiting && secondsLeft === 0) || (request !== undefined && request.status !== 200);
  if (role !== "user" && role !== "agent") return <ToolItem message={message} />;
  return (
    <Bubble from={role} {...(delivery && { delivery })} content={content} isFound={isFound}>
      <span>{timeOfDay(created_timestamp)}</span>
      {delivery === "failed" && <span class="state bad">Not sent: the agent never got it</span>}
      {delivery === "pending" && isUnconfirmed && (
        <span class="state warn">Not confirmed yet: it may have reached the agent</span>
      )}
      {delivery === "pending" && !isUnconfirmed && <span class="state">Waiting for the agent …</span>}
      {isOverdue && !delivery && <span class="state warn">Arrived late</span>}
      {truncated && <span class="state warn">Cut: the chat is nearly full</span>}
      {request && <RequestLine request={request} />}
    </Bubble>
  );
}

/** A message that no transcript shows yet. */
export function OutgoingItem({ message: { key, content, error } }: { message: Outgoing }) {
  const request = useRequest(key);
  const isFailed = error ? error.outcome !== "unknown" : isRefused(request);
  const unsure = error || request ? "Not confirmed yet" : "Sending …";
  return (
    <Bubble from="user" delivery={isFailed ? "failed" : "pending"} content={content}>
      <span class={`state ${isFailed ? "bad" : error ? "warn" : ""}`}>{isFailed ? "Not sent" : unsure}</span>
      {request && <RequestLine request={request} />}
    </Bubble>
  );
}

/** Whether the API has said of the last attempt that the agent did not get the message. */
const isRefused = (request: LoggedRequest | undefined) =>
  request?.code === "MESSAGE_SEND_FAILED" && request.status === 503;

interface BubbleProps {
  from: "user" | "agent";
  delivery?: "pending" | "failed";
  content: string;
  /** A search has led to it. */
  isFound?: boolean;
  children: ComponentChildren;
}

function Bubble({ from, delivery, content, isFound, children }: BubbleProps) {
  return (
    <li
      class={`message ${from} ${delivery ?? ""} ${isFound ? "found" : ""}`}
      aria-current={isFound ? "true" : undefined}
    >
      <span class="sr-only">{from === "user" ? "User" : "Agent"}:</span>
      <div class="bubble" dir="auto">
        {content}
      </div>
      <div class="about">{children}</div>
    </li>
  );
}

const toolNames: Record<string, string> = {
  tool_call_invocation: "Calls the tool",
  tool_call_result: "The tool's result",
  node_transition: "Goes on to",
  state_transition: "Goes on to",
};

/** A tool call, its result, or another step that only people who may write see. */
function ToolItem({ message }: { message: ShownMessage }) {
  const { role, message_id: _id, created_timestamp, seq: _seq, isOverdue: _isOverdue, ...payload } = message;
  const { name, new_node_name: node, new_state_name: state } = payload as Record<string, unknown>;
  const label = [toolNames[role] ?? role, name ?? node ?? state].filter((text) => text).join(" ");
  return (
    <li class="message tool">
      <details>
        <summary>
          {label} <span class="muted">{timeOfDay(created_timestamp)}</span>
        </summary>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it */}
        <pre tabIndex={0}>{JSON.stringify(readable(payload), null, 2)}</pre>
      </details>
    </li>
  );
}

/** Arguments and results of tools are JSON within a text, mostly. */
function readable(payload: object): object {
  const pairs = Object.entries(payload).map(([name, value]) => {
    if (typeof value !== "string" || !/^\s*[[{]/.test(value)) return [name, value];
    try {
      return [name, JSON.parse(value)];
    } catch {
      return [name, value];
    }
  });
  return Object.fromEntries(pairs);
}

/** The last attempt of a send of this tab. */
function useRequest(key: string | undefined): LoggedRequest | undefined {
  const requests = useStore(useApi().requests);
  return key === undefined ? undefined : requests.find(({ idempotencyKey }) => idempotencyKey === key);
}
