/** The fields of a chat that are counted. The old server may have left some out. */
export interface Chat {
  chat_id: string;
  agent_id?: string | null;
  chat_status?: string | null;
  /** Epoch ms. */
  start_timestamp?: number | null;
  end_timestamp?: number | null;
  message_count?: number | null;
  /** Size as BSON. */
  bytes: number;
}

/** The distribution of numbers; percentiles by nearest rank. All 0 where there are none. */
export interface Spread {
  count: number;
  sum: number;
  min: number;
  avg: number;
  p50: number;
  p95: number;
  max: number;
}

/** Counts over a subaccount's chats. */
export interface Tally {
  chats: number;
  byStatus: Record<string, number>;
  /** Of ended chats. */
  durationMs: Spread;
  messagesPerChat: Spread;
  /** The ten with the most messages. */
  topAgents: { agentId: string; chats: number; messages: number }[];
  /** The last twelve weeks in which a chat began, newest first, by their Monday (UTC). */
  weeks: { week: string; chats: number; messages: number }[];
  bytesPerChat: Spread;
  /** The ten largest documents. */
  largest: { chatId: string; bytes: number; messages: number }[];
}

const shown = 10;
const weeksShown = 12;
const dayMs = 86_400_000;

/** Counts chats one by one. Of each it keeps three numbers in memory. */
export async function tally(chats: AsyncIterable<Chat> | Iterable<Chat>): Promise<Tally> {
  const durations: number[] = [];
  const messages: number[] = [];
  const bytes: number[] = [];
  const byStatus = new Map<string, number>();
  const agents = new Map<string, { chats: number; messages: number }>();
  const weeks = new Map<string, { chats: number; messages: number }>();
  const largest: Tally["largest"] = [];

  for await (const chat of chats) {
    const { chat_id: chatId, agent_id, start_timestamp: start, end_timestamp: end } = chat;
    const count = chat.message_count ?? 0;
    const status = chat.chat_status ?? "unknown";
    byStatus.set(status, (byStatus.get(status) ?? 0) + 1);
    messages.push(count);
    bytes.push(chat.bytes);
    if (status === "ended" && typeof start === "number" && typeof end === "number") durations.push(end - start);
    add(agents, agent_id ?? "unknown", count);
    if (typeof start === "number") add(weeks, weekOf(start), count);
    if (largest.length < shown || chat.bytes > (largest.at(-1)?.bytes ?? 0)) {
      largest.push({ chatId, bytes: chat.bytes, messages: count });
      largest.sort((a, b) => b.bytes - a.bytes).splice(shown);
    }
  }

  return {
    chats: bytes.length,
    byStatus: Object.fromEntries(byStatus),
    durationMs: spread(durations),
    messagesPerChat: spread(messages),
    topAgents: [...agents]
      .map(([agentId, counts]) => ({ agentId, ...counts }))
      .sort((a, b) => b.messages - a.messages)
      .slice(0, shown),
    weeks: [...weeks]
      .map(([week, counts]) => ({ week, ...counts }))
      .sort((a, b) => b.week.localeCompare(a.week))
      .slice(0, weeksShown),
    bytesPerChat: spread(bytes),
    largest,
  };
}

function add(groups: Map<string, { chats: number; messages: number }>, name: string, messages: number): void {
  const group = groups.get(name) ?? { chats: 0, messages: 0 };
  groups.set(name, { chats: group.chats + 1, messages: group.messages + messages });
}

/** Computes the distribution. Sorts `values` in place. */
export function spread(values: number[]): Spread {
  values.sort((a, b) => a - b);
  const count = values.length;
  const rank = (share: number) => values[Math.max(0, Math.ceil(share * count) - 1)] ?? 0;
  const sum = values.reduce((total, value) => total + value, 0);
  return {
    count,
    sum,
    min: rank(0),
    avg: count === 0 ? 0 : Math.round((sum / count) * 10) / 10,
    p50: rank(0.5),
    p95: rank(0.95),
    max: rank(1),
  };
}

/** The Monday of a time's week, UTC: `2026-11-23`. */
export function weekOf(epochMs: number): string {
  const days = Math.floor(epochMs / dayMs);
  const monday = days - ((days + 3) % 7); // the epoch began on a Thursday
  return new Date(monday * dayMs).toISOString().slice(0, 10);
}
