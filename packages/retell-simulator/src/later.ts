import type * as z from "zod";
import type { Analysis, Chat, Cost, Profile } from "./schema.ts";

const DAY_MS = 86_400_000;
const CENTS_PER_MESSAGE = 0.35;
const CENTS_PER_ANALYSIS = 0.7;

type Next = { at: number; what: "reply" | "silence" | "cost" | "analysis" | "retention" };

/** What happens to a chat next if nobody touches it, and when. Follows from the chat alone, so a restart loses none. */
export function nextOf(chat: Chat, profile: Profile): Next | undefined {
  const coming: Next[] = chat.pending.map(({ at }) => ({ at, what: "reply" }));
  const silenceMs = profile.end_chat_after_silence_ms;

  if (chat.status === "ongoing") {
    // An agent that is about to answer is not silent.
    if (silenceMs !== null && chat.pending.length === 0) {
      coming.push({ at: chat.lastActivity + silenceMs, what: "silence" });
    }
  } else {
    const end = chat.end_timestamp ?? chat.lastActivity;
    if (!chat.cost && profile.costDelayMs !== null) coming.push({ at: end + profile.costDelayMs, what: "cost" });
    if (!chat.analysis && isAnalysed(chat, profile)) {
      coming.push({ at: end + profile.analysisDelayMs, what: "analysis" });
    }
    if (chat.rerunAt !== undefined) coming.push({ at: chat.rerunAt + profile.analysisDelayMs, what: "analysis" });
    if (chat.retained && profile.data_storage_retention_days !== null) {
      coming.push({ at: end + profile.data_storage_retention_days * DAY_MS, what: "retention" });
    }
  }
  return coming.sort((one, other) => one.at - other.at)[0];
}

function isAnalysed(chat: Chat, { analysis }: Profile): boolean {
  if (analysis === "unless_inactive") return chat.disconnection_reason !== "inactivity";
  return analysis !== "none";
}

/** Words about the chat, the same for the same chat. A rerun shows in the summary. */
export function analysisOf(chat: Chat, profile: Profile): z.infer<typeof Analysis> {
  const spoken = chat.entries.filter(({ role }) => role === "user").length;
  const again = chat.reruns > 0 ? ` (analysis no. ${chat.reruns + 1})` : "";
  const chat_summary = `The user wrote ${spoken} message${spoken === 1 ? "" : "s"} to the agent.${again}`;
  if (profile.analysis === "partial") return { chat_summary };
  return {
    chat_summary,
    chat_successful: chat.status === "ended" && spoken > 0,
    user_sentiment: spoken > 0 ? "Positive" : "Unknown",
    custom_analysis_data: {},
  };
}

/** In cents, with fractions, for every message of the agent and every analysis that was asked for again. */
export function costOf(chat: Chat): z.infer<typeof Cost> {
  const answers = chat.entries.filter(({ role }) => role === "agent").length;
  const product_costs = [
    { product: "chat_text", unit_price: CENTS_PER_MESSAGE, cost: cents(answers * CENTS_PER_MESSAGE) },
  ];
  if (chat.reruns > 0) {
    const cost = cents(chat.reruns * CENTS_PER_ANALYSIS);
    product_costs.push({ product: "post_chat_analysis", unit_price: CENTS_PER_ANALYSIS, cost });
  }
  return { combined_cost: cents(product_costs.reduce((sum, { cost }) => sum + cost, 0)), product_costs };
}

/** Without the noise of adding fractions. */
const cents = (amount: number) => Math.round(amount * 1_000) / 1_000;
