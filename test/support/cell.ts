import { sign } from "retell-sdk/lib/webhook_auth";
import { expect } from "vitest";
import { errors } from "../../lib/platform/errors.ts";
import { aLog } from "./log.ts";
import { aChatBy, type Instance, logOf, owned } from "./wire.ts";
import { aWorld, control, fault, type Request, type Response, type World } from "./world.ts";

export const endpoints = ["create", "message", "end", "list", "transcript", "webhook"] as const;
type Endpoint = (typeof endpoints)[number];

/** One cell of docs/failures.md: a request, in a tenant and to an instance of its own. */
export interface Cell {
  asked: Endpoint | "sweep";
  world: World;
  chatId: string;
  instance: Instance;
  /** Sends the request, with the same Idempotency-Key each time. */
  ask(): Promise<Told>;
}

/** The answer, in the words of the table. */
export interface Told {
  text: string;
  /** A repeat may have a further outcome later. */
  isOpen: boolean;
}

interface Prepared {
  instance: Instance;
  /** The instance that prepares the chat: the cell's own, or another if the cell's instance must start cold. */
  maker: Instance;
  /** The function's remaining time. */
  remainingMs: number;
  /** The sweep's remaining time. */
  sweepMs: number;
  /** Whether Redis is the failing service. In other cells a busy machine may delay Redis, which the table ignores. */
  isRedisAway: boolean;
}

export async function aCell(asked: Cell["asked"], prepared: Prepared): Promise<Cell> {
  const { instance, maker, remainingMs, sweepMs, isRedisAway } = prepared;
  const world = await aWorld();
  await maker.call("list", owned(world));
  const chatId = await aChatBy(maker, world); // clears the cached list, so that it is read again
  const cell = { asked, world, chatId, instance };
  if (asked === "sweep") {
    await leaveOpen(world, chatId, maker);
    return { ...cell, ask: () => sweep(cell, sweepMs) };
  }

  const request = await aRequest(asked, world, chatId);
  const ask = async (): Promise<Told> => {
    const answer = await instance.call(asked, { ...(await request()), remainingMs });
    check(answer, asked, isRedisAway);
    return told(answer, isRedisAway);
  };
  return { ...cell, ask };
}

async function aRequest(endpoint: Endpoint, world: World, chatId: string): Promise<() => Promise<Request>> {
  const inChat = { ...owned(world), chatId };
  const headers = { "idempotency-key": crypto.randomUUID() };
  if (endpoint === "create") return async () => ({ ...inChat, headers, body: { agentId: world.agentId } });
  if (endpoint === "message") return async () => ({ ...inChat, headers, body: { content: "ping" } });
  if (endpoint !== "webhook") return async () => inChat;

  // Retell ends the chat by itself, and sends the webhook.
  await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
  const authorization = `Bearer ${world.apiKey}`;
  const read = await fetch(new URL(`/get-chat/${chatId}`, process.env.TEST_RETELL_CONTROL), {
    headers: { authorization },
  });
  const body = JSON.stringify({ event: "chat_ended", chat: await read.json() });
  return async () => ({ ...inChat, body, headers: { "x-retell-signature": await sign(body, world.apiKey) } });
}

/** Sends a message that Retell receives and whose sender is told that the outcome is unknown. */
async function leaveOpen(world: World, chatId: string, { call }: Instance): Promise<void> {
  await fault(world, "completion", { kind: "drop", effect: "before" });
  await fault(world, "retrieve", { kind: "drop" });
  const { status } = await call("message", { ...owned(world), chatId, body: { content: "ping" } });
  expect(status).toBe(504);
}

/** A run of the sweep for which the chat is due. */
async function sweep({ world, chatId, instance }: Omit<Cell, "ask">, ms: number): Promise<Told> {
  const isDue = { $set: { "internal.nextSweepAt": new Date(Date.now() - 1) } };
  await world.db.collection("chats").updateOne({ chat_id: chatId }, isDue);
  const bounds = { until: Date.now() + ms, perSubaccount: 100 };
  const swept = await instance.sweep(bounds, aLog("sweep")).catch(() => undefined);
  const text = !swept ? "fails" : swept.failed > 0 ? "leaves the tenant to the next run" : "runs";
  return { text, isOpen: (await here({ asked: "message", world, chatId })) !== all };
}

/** For every failure: a documented code with its status, limits that count, and the expected warnings. */
function check(answer: Response, endpoint: Endpoint, isRedisAway: boolean): void {
  const { status, body, headers } = answer;
  if (status !== 200) {
    const isUnknownSend = body.code === "MESSAGE_SEND_FAILED" && body.details?.outcome === "unknown";
    const documented = errors[body.code as keyof typeof errors]?.status;
    expect(body.code).not.toContain("INTERNAL");
    expect(isUnknownSend ? [documented, 504] : [documented]).toContain(status); // 503: refused, and not confirmed
  }
  if (endpoint !== "webhook") {
    const most = headers["x-ratelimit-mode"] === "degraded" ? 30 : 300;
    expect(Number(headers["ratelimit-limit"])).toBeGreaterThan(0);
    expect(Number(headers["ratelimit-limit"])).toBeLessThanOrEqual(most);
  }
  const warnings = logOf(answer, "WARN").filter(
    ({ message, reason }) =>
      !/^(Cache not forgotten|Messages could not be indexed)/.test(String(message)) &&
      (isRedisAway || (reason as { name: string } | undefined)?.name !== "RedisUnavailable"),
  );
  expect(warnings.map(({ message }) => message).slice(1)).toEqual([]);
}

function told({ status, body, headers }: Response, isRedisAway: boolean): Told {
  const isDegraded = isRedisAway && headers["x-ratelimit-mode"] === "degraded";
  const retryAfter = headers["retry-after"];
  const words = [
    status === 200 ? "200" : `${status} ${body.code}`,
    body.details?.outcome === "unknown" && "outcome unknown",
    retryAfter && (status === 409 ? "Retry-After" : `Retry-After ${retryAfter}`), // the value of a 409 depends on the wait
    headers["idempotent-replayed"] && "replayed",
    body.meta.stale && "stale",
    isDegraded && "limits degraded",
  ];
  return {
    text: words.filter((word) => word).join(", "),
    isOpen: status !== 200 || body.meta.stale === true || isDegraded,
  };
}

interface Held {
  chat_id: string;
  status: string;
  entries: { role: string }[];
}

const held = async ({ apiKey }: World): Promise<Held[]> =>
  (await control("retell", "GET", `/chats?key=${apiKey}`)).chats;
const heardIn = (chats: Held[]) => chats.flatMap(({ entries }) => entries).filter(({ role }) => role === "user").length;

const all = "all of it";
const allIf = (isAll: boolean) => (isAll ? all : "nothing");

/** How much of the request is stored in our database. */
export async function here({ asked, world, chatId }: Pick<Cell, "asked" | "world" | "chatId">): Promise<string> {
  const chats = await world.db.collection("chats").find().toArray();
  const chat = chats.find(({ chat_id }) => chat_id === chatId);
  switch (asked) {
    case "create":
      return allIf(chats.length > 1);
    case "message":
    case "sweep": {
      const message = chat?.messages.find(({ role }: { role: string }) => role === "user");
      if (message?.internal.failed) return "the message, failed";
      return chat?.internal.turn ? "the message, pending" : allIf(message !== undefined);
    }
    case "end":
    case "webhook":
      return allIf(chat?.chat_status === "ended");
    default:
      return "–";
  }
}

/** How much of the request Retell has received. */
export async function atRetell({ asked, world, chatId }: Cell): Promise<string> {
  const chats = await held(world);
  switch (asked) {
    case "create": {
      const created = chats.find(({ chat_id }) => chat_id !== chatId);
      return created?.status === "ended" ? "a chat, ended" : allIf(created !== undefined);
    }
    case "message":
      return allIf(heardIn(chats) > 0);
    case "end":
      return allIf(chats[0]?.status === "ended");
    default:
      return "–";
  }
}

/** Moves the stored times back, because MongoDB's clock cannot be moved. */
export async function age({ world }: Cell, ms: number): Promise<void> {
  const chats = world.db.collection("chats");
  for (const [collection, field] of [
    [chats, "internal.turn.at"],
    [chats, "internal.turn.markedAt"],
    [world.db.collection("chatrequests"), "at"],
    [world.db.collection("chatrequests"), "finishedAt"],
  ] as const) {
    await collection.updateMany({ [field]: { $exists: true } }, [
      { $set: { [field]: { $subtract: [`$${field}`, ms] } } },
    ]);
  }
}

/** At the end: Retell has each message once, and the API shows exactly what Retell has. */
export async function nothingIsDoubledOrHidden({ asked, world, chatId }: Cell, { call }: Instance): Promise<void> {
  const chats = await held(world);
  if (asked === "message" || asked === "sweep") {
    expect(heardIn(chats)).toBe(1);
    const { body } = await call("transcript", { ...owned(world), chatId });
    const delivered = body.data.messages.filter(({ delivery }: { delivery?: string }) => !delivery);
    expect(delivered.map(({ role }: { role: string }) => role)).toEqual(["agent", "user", "agent"]);
  }
  const ongoing = await world.db.collection("chats").find({ chat_status: "ongoing" }).toArray();
  const theirs = chats.filter(({ status }) => status === "ongoing").map(({ chat_id }) => chat_id);
  expect([asked, theirs.sort()]).toEqual([asked, ongoing.map(({ chat_id }) => chat_id).sort()]);
  expect([asked, theirs.length]).toEqual([asked, { create: 2, end: 0, webhook: 0 }[asked as string] ?? 1]);
}
