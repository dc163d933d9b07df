import * as z from "zod";
import { parse, Refusal } from "./refusal.ts";
import { type Chat, ChatStatus } from "./schema.ts";
import { showItem } from "./view.ts";
import type { World } from "./world.ts";

const filter = <Type extends string, Op extends string, Value extends z.ZodType>(type: Type, ops: Op[], value: Value) =>
  z.strictObject({ type: z.literal(type), op: z.enum(ops), value, key: z.string().optional() });

const StringFilter = filter("string", ["eq", "ne", "sw", "ew", "co"], z.string());
const NumberFilter = filter("number", ["eq", "ne", "gt", "ge", "lt", "le"], z.number());
const RangeFilter = filter("range", ["bt"], z.tuple([z.number(), z.number()]));
const BooleanFilter = filter("boolean", ["eq"], z.boolean());
const EnumFilter = filter("enum", ["in"], z.array(z.string()));
const PresentFilter = filter("present", ["pr", "np"], z.never().optional());

const Texts = z.discriminatedUnion("type", [StringFilter, EnumFilter]);
const Numbers = z.discriminatedUnion("type", [NumberFilter, RangeFilter]);
const Filter = z.discriminatedUnion("type", [Texts, Numbers, BooleanFilter, PresentFilter]);
type Filter = z.infer<typeof Filter>;

/** Strict, so that a filter by metadata or by variables, which Retell does not have, is refused. */
const Criteria = z.strictObject({
  agent: z.array(z.strictObject({ agent_id: z.string(), version: z.array(z.number()).optional() })).optional(),
  agent_tag: EnumFilter.optional(),
  chat_id: Texts.optional(),
  chat_status: EnumFilter.extend({ value: z.array(ChatStatus) }).optional(),
  chat_successful: BooleanFilter.optional(),
  combined_cost: Numbers.optional(),
  custom_analysis_data: z.array(Filter).default([]),
  custom_attributes: z.array(Filter).default([]),
  disconnection_reason: EnumFilter.optional(),
  duration_ms: Numbers.optional(),
  start_timestamp: Numbers.optional(),
  end_timestamp: Numbers.optional(),
  user_sentiment: EnumFilter.optional(),
});

const ListBody = z.object({
  filter_criteria: Criteria.default({ custom_analysis_data: [], custom_attributes: [] }),
  limit: z.int().min(1).max(1_000).default(50),
  sort_order: z.enum(["ascending", "descending"]).default("descending"),
  pagination_key: z.string().optional(),
  skip: z.int().min(0).optional(),
  include_total: z.boolean().default(false),
});

/** Start time and number of a chat: chats of the same millisecond are in the order of creation. */
const Position = z.tuple([z.number(), z.number()]);
type Position = z.infer<typeof Position>;

/** One page of a workspace's chats, without their messages. */
export function list(world: World, key: string, body: unknown) {
  const { filter_criteria, limit, sort_order, pagination_key, skip = 0, include_total } = parse(ListBody, body ?? {});
  if (pagination_key !== undefined && skip > 0) {
    throw new Refusal(400, "skip and pagination_key cannot be used together");
  }

  const direction = sort_order === "ascending" ? 1 : -1;
  const compare = (one: Position, other: Position) => direction * (one[0] - other[0] || one[1] - other[1]);
  const matching = [...world.chats.values()]
    .filter((chat) => chat.key === key && chat.retained && matches(chat, filter_criteria))
    .sort((one, other) => compare(positionOf(one), positionOf(other)));
  const after = pagination_key === undefined ? undefined : decode(pagination_key);
  const rest = after ? matching.filter((chat) => compare(positionOf(chat), after) > 0) : matching.slice(skip);

  const page = rest.slice(0, limit);
  const last = page.at(-1);
  const has_more = rest.length > page.length;
  return {
    items: page.map((chat) => showItem(chat, world.profileOf(chat), world.clock.now())),
    has_more,
    ...(has_more && last && { pagination_key: encode(positionOf(last)) }),
    ...(include_total && { total: matching.length }),
  };
}

const positionOf = (chat: Chat): Position => [chat.start_timestamp, chat.number];
const encode = (position: Position) => Buffer.from(JSON.stringify(position)).toString("base64url");

function decode(cursor: string): Position {
  try {
    return Position.parse(JSON.parse(Buffer.from(cursor, "base64url").toString()));
  } catch {
    throw new Refusal(400, "Invalid pagination_key");
  }
}

function matches(chat: Chat, criteria: z.infer<typeof Criteria>): boolean {
  const { agent, custom_analysis_data, custom_attributes, ...single } = criteria;
  const values: Record<keyof typeof single, unknown> = {
    agent_tag: chat.agent_tag,
    chat_id: chat.chat_id,
    chat_status: chat.status,
    chat_successful: chat.analysis?.chat_successful,
    combined_cost: chat.cost?.combined_cost,
    disconnection_reason: chat.disconnection_reason,
    duration_ms: chat.end_timestamp === undefined ? undefined : chat.end_timestamp - chat.start_timestamp,
    start_timestamp: chat.start_timestamp,
    end_timestamp: chat.end_timestamp,
    user_sentiment: chat.analysis?.user_sentiment,
  };
  const names = Object.keys(values) as (keyof typeof values)[];
  const passAll = (fields: Record<string, unknown> = {}, filters: Filter[]) =>
    filters.every((filter) => passes(fields[filter.key ?? ""], filter));

  return (
    (!agent || agent.some((one) => one.agent_id === chat.agent_id && (one.version?.includes(chat.version) ?? true))) &&
    names.every((name) => single[name] === undefined || passes(values[name], single[name])) &&
    passAll(chat.custom_attributes, custom_attributes) &&
    passAll(chat.analysis?.custom_analysis_data, custom_analysis_data)
  );
}

function passes(value: unknown, filter: Filter): boolean {
  if (filter.type === "present") return (value !== undefined) === (filter.op === "pr");
  if (filter.type === "boolean") return value === filter.value;
  if (typeof value === "string") {
    if (filter.type === "enum") return filter.value.includes(value);
    return filter.type === "string" && STRING_OPS[filter.op](value, filter.value);
  }
  if (typeof value !== "number") return false;
  if (filter.type === "range") return value >= filter.value[0] && value <= filter.value[1];
  return filter.type === "number" && NUMBER_OPS[filter.op](value, filter.value);
}

const STRING_OPS = {
  eq: (value: string, wanted: string) => value === wanted,
  ne: (value: string, wanted: string) => value !== wanted,
  sw: (value: string, wanted: string) => value.startsWith(wanted),
  ew: (value: string, wanted: string) => value.endsWith(wanted),
  co: (value: string, wanted: string) => value.includes(wanted),
};

const NUMBER_OPS = {
  eq: (value: number, wanted: number) => value === wanted,
  ne: (value: number, wanted: number) => value !== wanted,
  gt: (value: number, wanted: number) => value > wanted,
  ge: (value: number, wanted: number) => value >= wanted,
  lt: (value: number, wanted: number) => value < wanted,
  le: (value: number, wanted: number) => value <= wanted,
};
