import type * as z from "zod";
import type { Analysis, Chat, Cost, Profile } from "./schema.ts";

const DAY_MS = 86_400_000;
const CENTS_PER_MESSAGE = 0.35;
const CENTS_PER_ANALYSIS = 0.7;

type Next = { at: number; what: "reply" | "silence" | "cost" | "analysis" | "retention" };

/**
 * What happens to a chat next without a request, and when. It is computed from the stored chat alone, so that a restart
 * loses nothing.
 */
export function nextOf(chat: Chat, profile: Profile): Next | undefined {
  const { analysisDelayMs, costDelayMs, data_storage_retention_days: days, end_chat_after_silence_ms } = profile;
  const next: Next[] = chat.pending.map(({ at }) => ({ at, what: "reply" }));

  if (chat.status === "ongoing") {
    // A reply that is on its way counts as activity.
    if (end_chat_after_silence_ms !== null && next.length === 0) {
      next.push({ at: chat.lastActivity + end_chat_after_silence_ms, what: "silence" });
    }
  } else {
    const end = chat.end_timestamp ?? chat.lastActivity;
    if (!chat.cost && costDelayMs !== null) next.push({ at: end + costDelayMs, what: "cost" });
    if (!chat.analysis && isAnalysed(chat, profile)) next.push({ at: end + analysisDelayMs, what: "analysis" });
    if (chat.rerunAt !== undefined) next.push({ at: chat.rerunAt + analysisDelayMs, what: "analysis" });
    if (chat.retained && days !== null) next.push({ at: end + days * DAY_MS, what: "retention" });
  }
  return next.sort((one, other) => one.at - other.at)[0];
}

function isAnalysed(chat: Chat, { analysis }: Profile): boolean {
  if (analysis === "unless_inactive") return chat.disconnection_reason !== "inactivity";
  return analysis !== "none";
}

/** Depends on the chat alone. The summary tells which rerun it is of. */
export function analysisOf(chat: Chat, profile: Profile): z.infer<typeof Analysis> {
  const sent = chat.entries.filter(({ role }) => role === "user").length;
  const rerun = chat.reruns > 0 ? ` (analysis no. ${chat.reruns + 1})` : "";
  const chat_summary = `The user wrote ${sent} message${sent === 1 ? "" : "s"} to the agent.${rerun}`;
  if (profile.analysis === "partial") return { chat_summary };
  return {
    chat_summary,
    chat_successful: chat.status === "ended" && sent > 0,
    user_sentiment: sent > 0 ? "Positive" : "Unknown",
    custom_analysis_data: {},
  };
}

/** In cents, with fractions: each message of the agent, and each rerun of the analysis. */
export function costOf(chat: Chat): z.infer<typeof Cost> {
  const product = (name: string, count: number, unit_price: number) => ({
    product: name,
    unit_price,
    cost: cents(count * unit_price),
  });
  const messages = chat.entries.filter(({ role }) => role === "agent").length;
  const product_costs = [product("chat_text", messages, CENTS_PER_MESSAGE)];
  if (chat.reruns > 0) product_costs.push(product("post_chat_analysis", chat.reruns, CENTS_PER_ANALYSIS));
  return { combined_cost: cents(product_costs.reduce((sum, { cost }) => sum + cost, 0)), product_costs };
}

/** Removes the rounding errors of adding fractions. */
const cents = (amount: number) => Math.round(amount * 1_000) / 1_000;
