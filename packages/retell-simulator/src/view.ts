import type { Chat, Entry, PiiCategory, Profile } from "./schema.ts";

const PERSONAL: Record<PiiCategory, RegExp> = {
  email: /[\w.+-]+@[\w-]+(\.[\w-]+)+/g,
  credit_card: /(?<![\w-])(\d{4}[ -]?){3}\d{4}(?![\w-])/g,
  ssn: /(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])/g,
  phone_number: /(?<![\w-])(\+\d[\d ().-]{7,}\d|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?![\w-])/g,
};

function scrubbed(value: unknown, categories: PiiCategory[]): unknown {
  if (typeof value === "string") {
    return categories.reduce((text, category) => text.replace(PERSONAL[category], `[${category}]`), value);
  }
  if (Array.isArray(value)) return value.map((item) => scrubbed(item, categories));
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, scrubbed(item, categories)]));
  }
  return value;
}

/** One entry as the API shows it: with or without its id and time, by the agent's profile and the entry's place. */
export function showEntry(entry: Entry, place: number, profile: Profile, where: "reply" | "history"): Entry {
  const { message_id, created_timestamp, truth: _, ...rest } = entry;
  if (where === "history" && rest.role === "user" && rest.content !== undefined) {
    rest.content = rewritten(rest.content, profile);
  }
  const hidden = profile.ids === "never" || (profile.ids === "history" && where === "reply");
  const patchy = profile.ids === "sometimes";
  return {
    ...rest,
    ...(!hidden && !(patchy && place % 3 === 2) && message_id !== undefined && { message_id }),
    ...(!hidden && !(patchy && place % 4 > 1) && created_timestamp !== undefined && { created_timestamp }),
  };
}

function rewritten(text: string, { userText }: Profile): string {
  const has = (kind: (typeof userText)[number]) => userText.includes(kind);
  const lines = has("lf") ? text.replace(/\r\n?/g, "\n") : text;
  const form = has("nfc") ? "NFC" : has("nfd") ? "NFD" : undefined;
  const composed = form ? lines.normalize(form) : lines;
  return has("trim") ? composed.trim() : composed;
}

function transcriptOf(entries: Entry[]): string {
  return entries
    .filter(({ role }) => role === "agent" || role === "user")
    .map(({ role, content }) => `${role === "agent" ? "Agent" : "User"}: ${content}\n`)
    .join("");
}

/** What an update or a read sees as the chat's variables; absent when none was ever set. */
export function variablesOf({ variables, overrides }: Pick<Chat, "variables" | "overrides">) {
  return variables || overrides ? { ...variables, ...overrides } : undefined;
}

/**
 * A chat as Retell's list tells it: all but the words.
 *
 * Scrubbing is done here and not on what is held, so that the control endpoint can still show what was said.
 */
export function showItem(chat: Chat, profile: Profile, now: number): Record<string, unknown> {
  const over = chat.status !== "ongoing";
  const shown = {
    chat_id: chat.chat_id,
    agent_id: chat.agent_id,
    chat_status: chat.status,
    chat_type: "api_chat",
    version: chat.version,
    agent_tag: chat.agent_tag,
    start_timestamp: chat.start_timestamp,
    end_timestamp: over && profile.endTimestamp === "set" ? chat.end_timestamp : endless(profile),
    metadata: chat.metadata,
    retell_llm_dynamic_variables: variablesOf(chat),
    collected_dynamic_variables: over ? chat.collected : undefined,
    custom_attributes: chat.custom_attributes,
    chat_analysis: chat.analysis,
    chat_cost: chat.cost,
  };
  const personal = ["metadata", "retell_llm_dynamic_variables", "collected_dynamic_variables", "chat_analysis"];
  return Object.fromEntries(
    Object.entries(shown)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [
        name,
        isScrubbed(chat, profile, now) && personal.includes(name) ? scrubbed(value, profile.scrub) : value,
      ]),
  );
}

/** A chat as get-chat tells it: the item and its words, where they are stored. */
export function show(chat: Chat, profile: Profile, now: number): Record<string, unknown> {
  const item = showItem(chat, profile, now);
  return storageOf(chat, profile) === "basic_attributes_only" ? item : { ...item, ...history(chat, profile, now) };
}

/** The words alone. */
export function history(chat: Chat, profile: Profile, now: number) {
  const scrub = isScrubbed(chat, profile, now);
  const forgotten = chat.forgotten ?? 0;
  const entries = chat.entries.slice(forgotten).map((entry, index) => {
    const place = index + forgotten;
    const shown = showEntry(entry, place, profile, "history");
    for (const field of scrub ? ["content", "arguments"] : []) {
      if (field in shown) shown[field] = scrubbed(shown[field], profile.scrub);
    }
    if (scrub) delete shown.multimedia;
    return shown;
  });
  return { transcript: transcriptOf(entries), message_with_tool_calls: entries };
}

/** What is kept of this chat: its own setting, else its agent's. */
export function storageOf(chat: Chat, profile: Profile) {
  return chat.storage ?? profile.storage;
}

function isScrubbed(chat: Chat, profile: Profile, now: number): boolean {
  return (
    chat.status !== "ongoing" &&
    storageOf(chat, profile) === "everything_except_pii" &&
    now >= (chat.end_timestamp ?? 0) + profile.scrubDelayMs
  );
}

function endless(profile: Profile): null | undefined {
  return profile.endTimestamp === "missing" ? undefined : null;
}
