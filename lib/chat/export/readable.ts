import { clockIn } from "../../platform/zone.ts";
import type { Transcript } from "../schema.ts";

/** A chat as people read it, whatever the format. Its texts have no control characters but line breaks and tabs. */
export interface ReadableChat {
  title: string;
  /** What is known of the chat, by its label. One line each. */
  facts: (readonly [label: string, text: string])[];
  messages: ReadableMessage[];
}

export interface ReadableMessage {
  at: string;
  /** One line. */
  speaker: string;
  /** Such as `not delivered`. */
  notes: string[];
  /** One or more lines, separated by `\n`. */
  text: string;
}

interface Options {
  timeZone: string;
  /** Whether Retell could not be read, so that the latest messages may be missing. */
  stale: boolean;
}

/** Every text may be hostile: metadata, roles and ids of agents come from others, messages from everybody. */
export function toReadable(chat: Transcript, { timeZone, stale }: Options): ReadableChat {
  const clock = clockIn(timeZone);
  const facts = [
    ["Chat", chat.chat_id],
    ["Agent", chat.agent_id],
    ["End user", chat.end_user_id ?? null],
    ["Status", chat.chat_status],
    ["Started", clock(chat.start_timestamp)],
    ["Ended", chat.end_timestamp === null ? null : clock(chat.end_timestamp)],
    ["Time zone", timeZone],
    ["Note", stale ? "Retell could not be read: the latest messages may be missing" : null],
  ] as const;
  return {
    title: `Chat ${chat.chat_id}`,
    facts: facts.flatMap(([label, text]) => (text === null ? [] : [[label, oneLine(text)] as const])),
    messages: chat.messages.flatMap((message) => ("role" in message ? [toReadableMessage(message, clock)] : [])),
  };
}

export type ShownMessage = Exclude<Transcript["messages"][number], { removed: true }>;

/** What a message says. A tool call has no content, but a name and its arguments as text. */
export const saidIn = ({ content, name, arguments: given }: ShownMessage): string =>
  content ?? [name, given].filter((text) => typeof text === "string").join(" ");

function toReadableMessage(message: ShownMessage, clock: (ms: number | undefined) => string): ReadableMessage {
  const { role, created_timestamp, delivery, truncated } = message;
  const notes = [
    ...(delivery === "failed" ? ["not delivered"] : []),
    ...(delivery === "pending" ? ["pending: it may have reached the agent"] : []),
    ...(truncated ? ["shortened"] : []),
  ];
  return { at: clock(created_timestamp), speaker: speakerOf(role), notes, text: printable(saidIn(message)) };
}

const speakers: Partial<Record<string, string>> = { agent: "Agent", user: "User" };
const speakerOf = (role: string) => (Object.hasOwn(speakers, role) && speakers[role]) || oneLine(role);

/** Replaces control characters, and halves of surrogate pairs. Every kind of line break becomes `\n`. */
function printable(text: string): string {
  return (
    text
      .toWellFormed()
      .replace(/\r\n?|[\v\f\u0085\u2028\u2029]/g, "\n")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: terminals and editors act on them
      .replace(/[\0-\x08\x0e-\x1f\x7f-\x9f]/g, "\ufffd")
  );
}

const maxLineLength = 300;

/** A text in one line, without the characters that reorder what stands beside it. */
const oneLine = (text: string) =>
  printable(text)
    .replace(/[\n\t]/g, " ")
    .replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, "\ufffd")
    .slice(0, maxLineLength)
    .toWellFormed();
