import type { Filter } from "mongodb";
import type { TenantContext } from "../../access/tenant.ts";
import { chatIndexes } from "../../platform/indexes.ts";
import type { StoredChat } from "../model.ts";
import { ChatStatus, Sentiment } from "../schema.ts";
import { tagOf } from "../tags.ts";
import type { ChatFilter } from "./filter.ts";

/** How a filter is looked up. */
export interface Match {
  /** The index that serves it, in the order of its own list. */
  index: Record<string, 1 | -1>;
  /** What the index narrows down: for each combination of values a range of keys, in the order of the list. */
  indexed: Filter<StoredChat>;
  /** All of the filter, without tombstones: held against each chat that the index finds. */
  all: Filter<StoredChat>;
}

/**
 * A filter as MongoDB takes it.
 *
 * The first of these that is given narrows the index down: end user or metadata, agent, creator, analysis, status. A
 * start time narrows each of them further. What is left is compared chat by chat, so a combination may have to look at
 * many.
 */
export function matchOf({ subaccountId }: Pick<TenantContext, "subaccountId">, filter: ChatFilter): Match {
  const { status, agent_id, created_by, end_user_id, started_after, started_before, metadata = [] } = filter;
  const all: Filter<StoredChat>[] = [{ subaccountId, "internal.tombstone": { $exists: false } }];
  const started = {
    ...(started_after === undefined ? {} : { $gte: started_after }),
    ...(started_before === undefined ? {} : { $lt: started_before }),
  };
  const range: Filter<StoredChat> = Object.keys(started).length > 0 ? { start_timestamp: started } : {};
  all.push(range);
  if (status) all.push({ chat_status: { $in: status } });
  if (agent_id) all.push({ agent_id: { $in: agent_id } });
  if (created_by) all.push({ createdBy: { $in: created_by } });
  if (end_user_id) all.push({ end_user_id: { $in: end_user_id } });
  // The tags of a chat say what it may be; the field itself says what it is. Lists have no tags.
  const tagged = metadata.map(([key, texts]) => ({ "internal.tags": { $in: texts.map((text) => tagOf(key, text)) } }));
  all.push(...tagged);
  for (const [key, texts] of metadata) all.push({ [`metadata.${key}`]: { $in: texts.flatMap(scalarsOf) } });
  const sentiment = { $in: filter.sentiment ? withAbsent(filter.sentiment) : withAbsent(Sentiment.options) };
  const successful = { $in: filter.successful?.map(answerOf) ?? ["yes", "no", "unknown", null] };
  const analysis: Filter<StoredChat> = {
    "internal.stats.sentiment": sentiment,
    "internal.stats.successful": successful,
  };
  const isAnalyzed = filter.sentiment !== undefined || filter.successful !== undefined;
  if (isAnalyzed) all.push(analysis);

  const users = end_user_id && { "internal.tags": { $in: end_user_id.map((id) => tagOf("end_user_id", id)) } };
  const tags = users ?? tagged[0];
  const [index, narrow]: [Match["index"], Filter<StoredChat>] = tags
    ? [chatIndexes.tags, tags]
    : agent_id
      ? [chatIndexes.agent, { agent_id: { $in: agent_id }, chat_status: { $in: status ?? ChatStatus.options } }]
      : created_by
        ? [chatIndexes.creator, { createdBy: { $in: created_by } }]
        : isAnalyzed
          ? [chatIndexes.analysis, analysis]
          : status
            ? [chatIndexes.status, { chat_status: { $in: status } }]
            : [chatIndexes.newest, {}];
  return { index, indexed: { subaccountId, ...narrow, ...range }, all: { $and: all } };
}

/** The scalars of JSON that a text may stand for: `1` is text or a number. */
function scalarsOf(text: string): (string | number | boolean)[] {
  const number = Number(text);
  const isNumber = String(number) === text && Number.isFinite(number);
  return [text, ...(isNumber ? [number] : []), ...(text === "true" || text === "false" ? [text === "true"] : [])];
}

/** A chat that was not analyzed has no such field. */
const withAbsent = (sentiments: readonly string[]) =>
  sentiments.includes("unknown") ? [...sentiments, null] : sentiments;

const answerOf = (text: "true" | "false") => (text === "true" ? "yes" : "no");
