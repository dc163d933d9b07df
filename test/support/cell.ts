import { sign } from "retell-sdk/lib/webhook_auth";
import { expect } from "vitest";
import { errors } from "../../lib/platform/errors.ts";
import { aLog } from "./log.ts";
import { aChatBy, type Instance, logOf, owned } from "./wire.ts";
import { aWorld, control, fault, type Request, type Response, type World } from "./world.ts";

export const endpoints = ["create", "message", "end", "list", "transcript", "webhook"] as const;
type Endpoint = (typeof endpoints)[number];

/** One cell of docs/failures.md: what is asked for, in a tenant and to an instance of its own. */
export interface Cell {
  asked: Endpoint | "sweep";
  world: World;
  chatId: string;
  instance: Instance;
  /** Asks, with the same Idempotency-Key each time. */
  ask(): Promise<Told>;
}

/** How it was answered, in the words of the table. */
export interface Told {
  text: string;
  /** The same again, or later, may come to more. */
  isOpen: boolean;
}

interface Prepared {
  instance: Instance;
  /** Prepares it: the cell's own instance, or another if the cell's is to start cold. */
  maker: Instance;
  /** What the function has left. */
  remainingMs: number;
  /** What the sweep has. */
  sweepMs: number;
  /** Whether it is Redis that fails. Elsewhere a machine out of breath may keep it waiting, of which nothing is told. */
  isRedisAway: boolean;
}

export async function aCell(asked: Cell["asked"], prepared: Prepared): Promise<Cell> {
  const { instance, maker, remainingMs, sweepMs, isRedisAway } = prepared;
  const world = await aWorld();
  await maker.call("list", owned(world));
  const chatId = await aChatBy(maker, world); // forgets the list: it is read anew
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

  // Retell ends the chat by itself, and tells.
  await control("retell", "PATCH", `/chats/${chatId}`, { status: "ended" });
  const authorization = `Bearer ${world.apiKey}`;
  const read = await fetch(new URL(`/get-chat/${chatId}`, process.env.TEST_RETELL_CONTROL), {
    headers: { authorization },
  });
  const body = JSON.stringify({ event: "chat_ended", chat: await read.json() });
  return async () => ({ ...inChat, body, headers: { "x-retell-signature": await sign(body, world.apiKey) } });
}

/** A message that Retell has heard, and whose sender was told that nobody knows. */
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

/** Whatever fails: a code that is documented, with its status; limits that hold; one warning, and one of a stale list. */
function check(answer: Response, endpoint: Endpoint, isRedisAway: boolean): void {
  const { status, body, headers } = answer;
  if (status !== 200) {
    const isUnknownSend = body.code === "MESSAGE_SEND_FAILED" && body.details?.outcome === "unknown";
    const documented = errors[body.code as keyof typeof errors]?.status;
    expect([body.code, status]).toEqual([expect.not.stringMatching("INTERNAL"), isUnknownSend ? 504 : documented]);
  }
  if (endpoint !== "webhook") {
    const most = headers["x-ratelimit-mode"] === "degraded" ? 30 : 300;
    expect(Number(headers["ratelimit-limit"])).toBeGreaterThan(0);
    expect(Number(headers["ratelimit-limit"])).toBeLessThanOrEqual(most);
  }
  const warnings = logOf(answer, "WARN").filter(
    ({ message, reason }) =>
      !String(message).startsWith("Cache not forgotten") &&
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
    retryAfter && (status === 409 ? "Retry-After" : `Retry-After ${retryAfter}`), // of a 409 it grows with the wait
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

/** What of the request stands in our database. */
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

/** What of the request Retell has taken in. */
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

/** MongoDB's clock cannot be moved: what it has dated can. */
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

/** When all is over: Retell has heard each message once, and whatever it holds we show, and nothing else. */
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
