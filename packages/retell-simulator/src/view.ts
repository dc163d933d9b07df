import type { Chat, Entry, Profile } from "./schema.ts";

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

/** A chat as Retell's list shows it, without messages. */
export function showItem(chat: Chat, profile: Profile): Record<string, unknown> {
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
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

/** A chat as get-chat shows it: with messages, if they are stored. */
export function show(chat: Chat, profile: Profile): Record<string, unknown> {
  const item = showItem(chat, profile);
  return storageOf(chat, profile) === "basic_attributes_only" ? item : { ...item, ...history(chat, profile) };
}

/** The messages alone. */
export function history(chat: Chat, profile: Profile) {
  const entries = chat.entries.map((entry, index) => showEntry(entry, index, profile, "history")).slice(chat.forgotten);
  return { transcript: transcriptOf(entries), message_with_tool_calls: entries };
}

/** The chat's own storage setting, else its agent's. */
export function storageOf(chat: Chat, profile: Profile) {
  return chat.storage ?? profile.storage;
}
