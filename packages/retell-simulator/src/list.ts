import * as z from "zod";
import { parse, Refusal } from "./refusal.ts";
import { type Chat, ChatStatus } from "./schema.ts";
import { showItem } from "./view.ts";
import type { World } from "./world.ts";

const Times = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("number"), op: z.enum(["gt", "ge", "lt", "le"]), value: z.number() }),
  z.strictObject({ type: z.literal("range"), op: z.literal("bt"), value: z.tuple([z.number(), z.number()]) }),
]);

/** Strict, so that a filter that is not simulated, or that Retell does not have (by metadata), is refused. */
const Criteria = z.strictObject({
  agent: z.array(z.strictObject({ agent_id: z.string(), version: z.array(z.number()).optional() })).optional(),
  chat_status: z.strictObject({ type: z.literal("enum"), op: z.literal("in"), value: z.array(ChatStatus) }).optional(),
  start_timestamp: Times.optional(),
  end_timestamp: Times.optional(),
});

const ListBody = z.object({
  filter_criteria: Criteria.default({}),
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
    items: page.map((chat) => showItem(chat, world.profileOf(chat))),
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

function matches(
  chat: Chat,
  { agent, chat_status, start_timestamp, end_timestamp }: z.infer<typeof Criteria>,
): boolean {
  return (
    (!agent || agent.some((one) => one.agent_id === chat.agent_id && (one.version?.includes(chat.version) ?? true))) &&
    (!chat_status || chat_status.value.includes(chat.status)) &&
    isAt(chat.start_timestamp, start_timestamp) &&
    isAt(chat.end_timestamp, end_timestamp)
  );
}

function isAt(time: number | undefined, wanted: z.infer<typeof Times> | undefined): boolean {
  if (!wanted) return true;
  if (time === undefined) return false;
  if (wanted.type === "range") return time >= wanted.value[0] && time <= wanted.value[1];
  return { gt: time > wanted.value, ge: time >= wanted.value, lt: time < wanted.value, le: time <= wanted.value }[
    wanted.op
  ];
}
