import type { Answer } from "./answer.ts";
import { ChatError } from "./errors.ts";
import { retryDelay } from "./retry.ts";
import type { ChatStatus, Message, Transcript, TranscriptMeta, TranscriptQuery } from "./types.ts";
import { within } from "./wait.ts";

export interface WatchOptions {
  /** Ends the loop, without an error. */
  signal?: AbortSignal | undefined;
  /** Tool calls and their results too; needs the permission write. */
  include?: "tools";
}

/** A chat as a page shows it. */
export interface ChatView {
  /** All messages, in order. */
  messages: Message[];
  /** Those that are new or have changed since the view before: delivered, failed or corrected. */
  changed: Message[];
  chat_status: ChatStatus | null;
  /** Whether the agent's side could not be read, so that the newest messages may be missing. */
  stale: boolean;
  /** Why the chat cannot be read now; the rest of the view is as it was. The loop goes on. */
  error?: ChatError;
}

/** One read of the transcript, without retries. */
export type Poll = (query: TranscriptQuery, etag: string | undefined) => Promise<Answer>;

const defaultPollMs = 5_000;

interface Watched {
  poll: Poll;
  options: WatchOptions;
  /** Tells when this client has had an answer in this chat, which makes reading worthwhile. Returns how to stop it. */
  onAnswer: (tell: () => void) => () => void;
}

/**
 * Yields the chat now and at each change, until it is over with nothing pending. Where the API has none of its
 * revisions, each read has the whole transcript, and an ETag spares its bytes.
 *
 * @throws ChatError when a repeat would not help: no permission, no such chat, no valid token.
 */
export async function* watch({ poll, options, onAnswer }: Watched): AsyncGenerator<ChatView, void, undefined> {
  const { signal } = options;
  const reader = readerOf(poll, options);
  let view: ChatView | undefined;
  let isAnswered = false;
  let wake = () => {};
  const stop = onAnswer(() => {
    isAnswered = true;
    wake();
  });
  try {
    for (let failures = 0; !signal?.aborted; ) {
      isAnswered = false;
      const read = await reader.read(view?.messages ?? []).catch(asChatError);
      if (signal?.aborted) return;
      let waitMs = reader.pollAfterMs();
      if (read instanceof ChatError) {
        failures += 1;
        const delayMs = retryDelay(read, failures);
        if (delayMs === undefined) throw read;
        waitMs = delayMs;
        if (failures === 1) yield { ...(view ?? nothing), changed: [], error: read };
      } else {
        if (!view || failures > 0 || isDifferent(view, read)) yield read;
        failures = 0;
        view = read;
        if (isOver(view)) return;
      }
      const woken = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (!isAnswered) await within(woken, { signal, deadline: Date.now() + waitMs }).catch(() => {}); // or it is time
    }
  } finally {
    stop();
  }
}

const nothing = { messages: [], chat_status: null, stale: false };

const isOver = ({ chat_status, messages }: ChatView) =>
  (chat_status === "ended" || chat_status === "error") && !messages.some(({ delivery }) => delivery === "pending");

const isDifferent = (before: ChatView, now: ChatView) =>
  now.changed.length > 0 ||
  now.messages.length !== before.messages.length ||
  now.chat_status !== before.chat_status ||
  now.stale !== before.stale;

function asChatError(error: unknown): ChatError {
  if (error instanceof ChatError) return error;
  throw error;
}

/** Remembers what is needed to ask for changes only. */
function readerOf(poll: Poll, { include }: WatchOptions) {
  let revision: string | undefined;
  let etag: string | undefined;
  let etagOf: string | undefined;
  let last: Omit<ChatView, "changed" | "messages"> = { chat_status: null, stale: false };
  let pollMs = defaultPollMs;

  async function read(known: Message[]): Promise<ChatView> {
    const isWhole = revision === undefined;
    let messages = isWhole ? [] : known;
    let since = revision;
    let after: number | undefined;
    const changed: Message[] = [];
    for (let isMore = true; isMore; ) {
      const query: TranscriptQuery = {
        ...(include && { include }),
        ...(since !== undefined && { after_revision: since }),
        ...(after !== undefined && { after_seq: after }),
      };
      const asked = JSON.stringify(query);
      const { status, data, meta: got, etag: tag } = await poll(query, asked === etagOf ? etag : undefined);
      if (status === 304) return { ...last, messages: known, changed: [] };
      const page = data as Transcript;
      const meta = got as TranscriptMeta;
      messages = merged(messages, page.messages);
      changed.push(...page.messages);
      last = { chat_status: page.chat_status, stale: meta.stale === true };
      pollMs = meta.poll_after_ms ?? defaultPollMs;
      // The revision of a page is where the next one begins.
      after = meta.revision === undefined && meta.hasMore ? meta.nextSeq : undefined;
      isMore = meta.hasMore === true && (after !== undefined || meta.revision !== since);
      since = meta.revision;
      // Of a chat in pages no ETag is kept: a 304 to the first page would say nothing of the others.
      [etag, etagOf] = isMore ? [undefined, undefined] : [tag, asked];
    }
    revision = since;
    const isNew = (one: Message) => !isRemoval(one) && !(isWhole && isKnown(known, one));
    return { ...last, messages, changed: changed.filter(isNew) };
  }
  return { read, pollAfterMs: () => pollMs };
}

const isRemoval = ({ removed }: Message) => removed === true;

/** Whether the message is shown as it is. */
const isKnown = (known: Message[], message: Message) =>
  known.some((one) => JSON.stringify(one) === JSON.stringify(message));

/** Messages by their seq. Those of the old server have none until their chat is imported; then all come again. */
function merged(messages: Message[], changes: Message[]): Message[] {
  const isImported = changes.some(({ seq }) => seq !== undefined);
  const kept = isImported ? messages.filter(({ seq }) => seq !== undefined) : messages;
  const bySeq = new Map(kept.map((message, place) => [message.seq ?? `at ${place}`, message]));
  for (const [place, change] of changes.entries()) {
    const at = change.seq ?? `at ${place}`;
    if (isRemoval(change)) bySeq.delete(at);
    else bySeq.set(at, change);
  }
  return [...bySeq.values()].sort((one, other) => (one.seq ?? 0) - (other.seq ?? 0));
}
