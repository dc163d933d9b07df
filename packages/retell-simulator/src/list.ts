import * as z from "zod";
import { parse, Refusal } from "./refusal.ts";
import { type Chat, ChatStatus } from "./schema.ts";
import { showItem } from "./view.ts";
import type { World } from "./world.ts";

const NumberOp = z.enum(["eq", "ne", "gt", "ge", "lt", "le"]);
const key = z.string().optional();
const StringFilter = z.strictObject({
  type: z.literal("string"),
  op: z.enum(["eq", "ne", "sw", "ew", "co"]),
  value: z.string(),
  key,
});
const NumberFilter = z.strictObject({ type: z.literal("number"), op: NumberOp, value: z.number(), key });
const RangeFilter = z.strictObject({
  type: z.literal("range"),
  op: z.literal("bt"),
  value: z.tuple([z.number(), z.number()]),
  key,
});
const BooleanFilter = z.strictObject({ type: z.literal("boolean"), op: z.literal("eq"), value: z.boolean(), key });
const EnumFilter = z.strictObject({ type: z.literal("enum"), op: z.literal("in"), value: z.array(z.string()), key });
const PresentFilter = z.strictObject({ type: z.literal("present"), op: z.enum(["pr", "np"]), key });

const Texts = z.discriminatedUnion("type", [StringFilter, EnumFilter]);
const Numbers = z.discriminatedUnion("type", [NumberFilter, RangeFilter]);
const Any = z.discriminatedUnion("type", [
  StringFilter,
  NumberFilter,
  RangeFilter,
  BooleanFilter,
  EnumFilter,
  PresentFilter,
]);
type Filter = z.infer<typeof Any>;

/** Strict on purpose: there is no filter by metadata or by variables, and whoever tries one should hear of it. */
const Criteria = z.strictObject({
  agent: z.array(z.strictObject({ agent_id: z.string(), version: z.array(z.number()).optional() })).optional(),
  agent_tag: EnumFilter.optional(),
  chat_id: Texts.optional(),
  chat_status: EnumFilter.extend({ value: z.array(ChatStatus) }).optional(),
  chat_successful: BooleanFilter.optional(),
  combined_cost: Numbers.optional(),
  custom_analysis_data: z.array(Any).optional(),
  custom_attributes: z.array(Any).optional(),
  disconnection_reason: EnumFilter.optional(),
  duration_ms: Numbers.optional(),
  start_timestamp: Numbers.optional(),
  end_timestamp: Numbers.optional(),
  user_sentiment: EnumFilter.optional(),
});
type Criteria = z.infer<typeof Criteria>;

const ListBody = z.object({
  filter_criteria: Criteria.default({}),
  limit: z.int().min(1).max(1_000).default(50),
  sort_order: z.enum(["ascending", "descending"]).default("descending"),
  pagination_key: z.string().optional(),
  skip: z.int().min(0).optional(),
  include_total: z.boolean().default(false),
});

const Cursor = z.tuple([z.number(), z.number()]);

/** One page of a workspace's chats, without their words, and how to get the next. */
export function list(world: World, key: string, body: unknown) {
  const { filter_criteria, limit, sort_order, pagination_key, skip = 0, include_total } = parse(ListBody, body ?? {});
  if (pagination_key !== undefined && skip > 0) {
    throw new Refusal(400, "skip and pagination_key cannot be used together");
  }

  const forward = sort_order === "ascending" ? 1 : -1;
  const matching = [...world.chats.values()]
    .filter((chat) => chat.key === key && chat.retained && matches(chat, filter_criteria))
    .sort((one, other) => forward * compare(placeOf(one), placeOf(other)));
  const after = pagination_key === undefined ? undefined : decode(pagination_key);
  const rest = after ? matching.filter((chat) => forward * compare(placeOf(chat), after) > 0) : matching.slice(skip);

  const page = rest.slice(0, limit);
  const last = page.at(-1);
  const has_more = rest.length > page.length;
  return {
    items: page.map((chat) => showItem(chat, world.profileOf(chat), world.clock.now())),
    has_more,
    ...(has_more && last && { pagination_key: encode(placeOf(last)) }),
    ...(include_total && { total: matching.length }),
  };
}

type Place = z.infer<typeof Cursor>;

/** By time, and those of one millisecond by the order of creation, so that a page never repeats or skips one. */
const placeOf = (chat: Chat): Place => [chat.start_timestamp, chat.number];
const compare = (one: Place, other: Place) => one[0] - other[0] || one[1] - other[1];
const encode = (place: Place) => Buffer.from(JSON.stringify(place)).toString("base64url");

function decode(cursor: string): Place {
  try {
    return Cursor.parse(JSON.parse(Buffer.from(cursor, "base64url").toString()));
  } catch (cause) {
    if (cause instanceof SyntaxError || cause instanceof z.ZodError) throw new Refusal(400, "Invalid pagination_key");
    throw cause;
  }
}

function matches(chat: Chat, criteria: Criteria): boolean {
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
  const isOfAgent = ({ agent_id, version }: NonNullable<typeof agent>[number]) =>
    agent_id === chat.agent_id && (version === undefined || version.includes(chat.version));

  return (
    (agent === undefined || agent.some(isOfAgent)) &&
    names.every((name) => single[name] === undefined || passes(values[name], single[name])) &&
    (custom_attributes ?? []).every((filter) => passes(chat.custom_attributes?.[filter.key ?? ""], filter)) &&
    (custom_analysis_data ?? []).every((filter) =>
      passes(chat.analysis?.custom_analysis_data?.[filter.key ?? ""], filter),
    )
  );
}

function passes(value: unknown, filter: Filter): boolean {
  switch (filter.type) {
    case "present":
      return (value !== undefined) === (filter.op === "pr");
    case "boolean":
      return value === filter.value;
    case "enum":
      return typeof value === "string" && filter.value.includes(value);
    case "range":
      return typeof value === "number" && value >= filter.value[0] && value <= filter.value[1];
    case "string":
      return typeof value === "string" && STRING_OPS[filter.op](value, filter.value);
    case "number":
      return typeof value === "number" && NUMBER_OPS[filter.op](value, filter.value);
  }
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
