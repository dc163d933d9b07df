import type { ChatFilter } from "@scalai/chat";

/** The filters of the API's list that the console names, with what people read. Their values stand in the address. */
export const filterLabels: Record<string, string> = {
  status: "Status",
  agent_id: "Agent",
  created_by: "Created by",
  end_user_id: "End user",
  sentiment: "Sentiment",
  successful: "Successful",
  started_after: "From",
  started_before: "Before",
};

/** The filters in an address, without what is empty, and without what stands beside them. */
export function filtersIn(query: URLSearchParams): [name: string, text: string][] {
  return [...query].filter(([name, text]) => text !== "" && (name in filterLabels || name.startsWith("metadata.")));
}

/** The filters as the client takes them. The API decides whether they are valid. */
export function filterOf(query: URLSearchParams): ChatFilter {
  return Object.fromEntries(
    filtersIn(query).map(([name, text]) => [name, text.split(",").filter(Boolean).map(timeOf)]),
  );
}

/** The list with other filters; a change without a value removes one. */
export function withChange(query: URLSearchParams, changes: Record<string, string>): string {
  const next = new URLSearchParams(query);
  for (const [name, text] of Object.entries(changes)) {
    if (text.trim()) next.set(name, text.trim());
    else next.delete(name);
  }
  return next.size > 0 ? `?${next}` : "";
}

/** A day begins at midnight here, not in UTC. */
const timeOf = (text: string) => (/^\d{4}-\d\d-\d\d$/.test(text) ? new Date(`${text}T00:00`).getTime() : text);
