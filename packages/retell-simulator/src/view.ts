import type { Chat, Entry, PiiCategory, Profile } from "./schema.ts";

const PERSONAL_DATA: Record<PiiCategory, RegExp> = {
  email: /[\w.+-]+@[\w-]+(\.[\w-]+)+/g,
  credit_card: /(?<![\w-])(\d{4}[ -]?){3}\d{4}(?![\w-])/g,
  ssn: /(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])/g,
  phone_number: /(?<![\w-])(\+\d[\d ().-]{7,}\d|\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4})(?![\w-])/g,
};

const SCRUBBED_FIELDS = ["metadata", "retell_llm_dynamic_variables", "collected_dynamic_variables", "chat_analysis"];

function scrub(value: unknown, categories: PiiCategory[]): unknown {
  if (typeof value === "string") {
    return categories.reduce((text, category) => text.replace(PERSONAL_DATA[category], `[${category}]`), value);
  }
  if (Array.isArray(value)) return value.map((item) => scrub(item, categories));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, scrub(item, categories)]));
}

/** An entry as the API shows it: the agent's profile says whether it has an id and a time. */
export function showEntry(entry: Entry, index: number, profile: Profile, where: "reply" | "history"): Entry {
  const { message_id, created_timestamp, truth: _, ...rest } = entry;
  if (where === "history" && rest.role === "user" && rest.content !== undefined) {
    rest.content = rewrite(rest.content, profile);
  }
  const isHidden = profile.ids === "never" || (profile.ids === "history" && where === "reply");
  const isPatchy = profile.ids === "sometimes";
  return {
    ...rest,
    ...(!isHidden && !(isPatchy && index % 3 === 2) && message_id !== undefined && { message_id }),
    ...(!isHidden && !(isPatchy && index % 4 > 1) && created_timestamp !== undefined && { created_timestamp }),
  };
}

function rewrite(text: string, { userText }: Profile): string {
  const lines = userText.includes("lf") ? text.replace(/\r\n?/g, "\n") : text;
  const form = userText.includes("nfc") ? "NFC" : userText.includes("nfd") ? "NFD" : undefined;
  const normalized = form ? lines.normalize(form) : lines;
  return userText.includes("trim") ? normalized.trim() : normalized;
}

function transcriptOf(entries: Entry[]): string {
  return entries
    .filter(({ role }) => role === "agent" || role === "user")
    .map(({ role, content }) => `${role === "agent" ? "Agent" : "User"}: ${content}\n`)
    .join("");
}

/** The chat's dynamic variables with the overrides of updates; undefined if none was ever set. */
export function variablesOf({ variables, overrides }: Pick<Chat, "variables" | "overrides">) {
  return variables || overrides ? { ...variables, ...overrides } : undefined;
}

/**
 * A chat as Retell's list shows it, without messages. Personal data is scrubbed here and not in what is stored, so that
 * the control API still shows what was said.
 */
export function showItem(chat: Chat, profile: Profile, now: number): Record<string, unknown> {
  const hasEnded = chat.status !== "ongoing";
  const noEnd = profile.endTimestamp === "missing" ? undefined : null;
  const fields = {
    chat_id: chat.chat_id,
    agent_id: chat.agent_id,
    chat_status: chat.status,
    chat_type: "api_chat",
    version: chat.version,
    agent_tag: chat.agent_tag,
    start_timestamp: chat.start_timestamp,
    end_timestamp: hasEnded && profile.endTimestamp === "set" ? chat.end_timestamp : noEnd,
    metadata: chat.metadata,
    retell_llm_dynamic_variables: variablesOf(chat),
    collected_dynamic_variables: hasEnded ? chat.collected : undefined,
    custom_attributes: chat.custom_attributes,
    chat_analysis: chat.analysis,
    chat_cost: chat.cost,
  };
  const scrubbed = isScrubbed(chat, profile, now) ? SCRUBBED_FIELDS : [];
  return Object.fromEntries(
    Object.entries(fields)
      .filter(([, value]) => value !== undefined)
      .map(([name, value]) => [name, scrubbed.includes(name) ? scrub(value, profile.scrub) : value]),
  );
}

/** A chat as get-chat shows it: with messages, if they are stored. */
export function show(chat: Chat, profile: Profile, now: number): Record<string, unknown> {
  const item = showItem(chat, profile, now);
  return storageOf(chat, profile) === "basic_attributes_only" ? item : { ...item, ...history(chat, profile, now) };
}

/** The messages alone. */
export function history(chat: Chat, profile: Profile, now: number) {
  const isScrubbedNow = isScrubbed(chat, profile, now);
  const entries = chat.entries
    .map((entry, index) => showEntry(entry, index, profile, "history"))
    .slice(chat.forgotten)
    .map((entry) => {
      if (!isScrubbedNow) return entry;
      const { multimedia: _, ...rest } = entry;
      for (const field of ["content", "arguments"]) if (field in rest) rest[field] = scrub(rest[field], profile.scrub);
      return rest;
    });
  return { transcript: transcriptOf(entries), message_with_tool_calls: entries as Entry[] };
}

/** The chat's own storage setting, else its agent's. */
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
