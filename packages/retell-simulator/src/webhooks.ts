import { request } from "node:http";
import { finished } from "node:stream";
import { symmetric } from "retell-sdk/lib/webhook_auth";
import { Waiting } from "./log.ts";
import { oddBody, textOf } from "./odd.ts";
import { hexOf, kindAt, numbersFrom } from "./random.ts";
import { Refusal } from "./refusal.ts";
import { type Chat, type ChatEvent, type Disorder, TROUBLES, Webhook } from "./schema.ts";
import { history, showItem } from "./view.ts";
import type { World } from "./world.ts";

/** One attempt to tell of an event. It is over when it has a status or an error. */
type Attempt = {
  id: string;
  key: string;
  chat_id: string;
  event: ChatEvent;
  /** 1, and up to 1 + the retries. */
  attempt: number;
  replay?: true;
  /** By the simulator's clock; the signature's time is the real one. */
  at: number;
  url: string;
  signature?: string;
  body: string;
  status?: number;
  /** "timeout", "dropped", "ECONNREFUSED"... */
  error?: string;
};

type Outcome = Required<Pick<Attempt, "status">> | Required<Pick<Attempt, "error">>;

/** An event on its way. The body is of the moment of the event, all else of the moment of each attempt. */
type Delivery = { chat: Chat; event: ChatEvent; body: string; signal: AbortSignal };

type Wanted = { key?: string; chat_id?: string; event?: string };
type Which = { id: string } | { chat_id: string; event: ChatEvent };

const KEPT = 1_000;

/**
 * Tells the workspaces of what happens to their chats, as Retell does: each chat's events in their order, without
 * waiting for the answer to one before the next is sent, so that a retry comes after a later event.
 *
 * Delays and retries go by the simulator's clock. Signatures and timeouts go by real time, since the receiver does.
 */
export class Webhooks {
  readonly #world: World;
  #attempts: Attempt[] = [];
  #made = 0;
  readonly #waiting = new Waiting();
  /** Ends with a reset or a stop, and with it all that was under way. */
  #era = new AbortController();
  /** By chat: the last request has been handed over. */
  readonly #lines = new Map<string, Promise<void>>();
  /** By chat: what whoever caused an event has to wait for. */
  readonly #owed = new Map<string, Promise<void>>();
  /** By chat: sends the event that waits for the next one to overtake it. */
  readonly #held = new Map<string, () => void>();

  constructor(world: World) {
    this.#world = world;
    world.onEvent = (chat, event, at) => this.#tell(chat, event, at);
  }

  /**
   * Resolves when the receiver has answered the event that has just happened to a chat, if its webhook is to be told
   * before the caller. To be asked at once, and once: the event is owed to the one who caused it.
   */
  async owed(chatId: string): Promise<void> {
    const answered = this.#owed.get(chatId);
    this.#owed.delete(chatId);
    await answered;
  }

  /** The attempts that are over, in the order in which they were made, once there are so many. */
  async findAtLeast(count: number, wanted: Wanted, signal: AbortSignal) {
    await this.#waiting.until(() => this.#find(wanted).length >= count, signal);
    return this.#find(wanted).map(shown);
  }

  /**
   * Makes an attempt again, alone: with its old signature, or signed anew as if `ageMs` ago.
   *
   * @returns   How it went.
   * @throws    404 when there was no such attempt.
   */
  async replay({ ageMs, ...which }: Which & { ageMs?: number }) {
    const old = this.#attempts.findLast((attempt) =>
      "id" in which ? attempt.id === which.id : attempt.chat_id === which.chat_id && attempt.event === which.event,
    );
    if (!old) throw new Refusal(404, "There was no such delivery");
    const { key, chat_id, event, url, body } = old;
    const webhook = this.#world.webhooks.get(key) ?? Webhook.parse({ url });
    const isSame = ageMs === undefined && old.signature !== undefined;
    const signature = isSame ? old.signature : await sign(body, webhook, key, ageMs);
    const attempt = this.#note({ key, chat_id, event, attempt: 1, replay: true, url, signature, body });
    const outcome = await post(attempt, { timeoutMs: webhook.timeoutMs, signal: this.#era.signal });
    return shown(this.#close(attempt, outcome));
  }

  /** Forgets what was sent, and what was to be sent. */
  reset(): void {
    this.stop();
    this.#era = new AbortController();
    this.#attempts = [];
  }

  /** Gives up all that is under way, and waits for none of it. */
  stop(): void {
    this.#era.abort();
    this.#lines.clear();
    this.#owed.clear();
    this.#held.clear();
  }

  #tell(chat: Chat, event: ChatEvent, at: number): void {
    const webhook = this.#webhookOf(chat);
    if (!webhook?.events.includes(event)) return;
    const told = payload(chat, event, this.#world, at);
    const body = textOf({ event, chat: webhook.odd.reduce<unknown>((odd, name) => oddBody(name, odd), told) });
    const delivery = { chat, event, body, signal: this.#era.signal };
    const trouble = webhook.disorder && troubleOf(webhook.disorder, chat);
    const sendHeld = this.#held.get(chat.chat_id);

    if (trouble?.kind === "drop") this.#drop(delivery, webhook.url);
    else if (trouble?.kind === "delay") this.#later(trouble.ms, () => this.#send(delivery));
    else if (trouble?.kind === "swap" && !sendHeld) this.#hold(delivery, trouble.maxMs);
    else {
      const answered = this.#send(delivery);
      if (webhook.beforeAnswer) this.#owe(chat.chat_id, answered);
      if (trouble?.kind === "duplicate") this.#later(trouble.ms, () => this.#send(delivery));
    }
    sendHeld?.();
  }

  /** Whom a chat's events go to: its agent's URL replaces the workspace's, the rest is as the workspace has it. */
  #webhookOf(chat: Chat): Webhook | undefined {
    const webhook = this.#world.webhooks.get(chat.key);
    const url = this.#world.profileOf(chat).webhook_url ?? webhook?.url;
    return url === undefined ? undefined : { ...(webhook ?? Webhook.parse({ url })), url };
  }

  /** Sends behind what was sent for the chat before. Resolves when the first attempt is over. Never rejects. */
  #send(delivery: Delivery): Promise<void> {
    const { chat_id } = delivery.chat;
    const { promise: handedOver, resolve } = Promise.withResolvers<void>();
    const before = this.#lines.get(chat_id) ?? Promise.resolve();
    const answered = before.then(() => this.#attempt(delivery, 1, resolve));
    this.#lines.set(chat_id, handedOver);
    void answered.then(resolve);
    void handedOver.then(() => {
      if (this.#lines.get(chat_id) === handedOver) this.#lines.delete(chat_id);
    });
    return answered;
  }

  async #attempt(delivery: Delivery, number: number, handedOver?: () => void): Promise<void> {
    const { chat, event, body, signal } = delivery;
    const webhook = this.#webhookOf(chat);
    if (!webhook || signal.aborted) return;
    const { key, chat_id } = chat;
    const signature = await sign(body, webhook, key);
    const attempt = this.#note({ key, chat_id, event, attempt: number, url: webhook.url, signature, body });
    const outcome = await post(attempt, { timeoutMs: webhook.timeoutMs, signal, handedOver });
    if (!isSuccess(outcome) && number <= webhook.retries && !signal.aborted) {
      this.#later(webhook.retryDelayMs, () => this.#attempt(delivery, number + 1));
    }
    // Told of only now that the retry is due: who waits for the failure may move the clock at once.
    this.#close(attempt, outcome);
  }

  #later(ms: number, run: () => Promise<void>): void {
    this.#world.clock.at(this.#world.clock.now() + ms, () => void run());
  }

  #hold(delivery: Delivery, maxMs: number): void {
    const { chat_id } = delivery.chat;
    const { clock } = this.#world;
    const send = () => {
      cancel();
      this.#held.delete(chat_id);
      void this.#send(delivery);
    };
    const cancel = clock.at(clock.now() + maxMs, send);
    this.#held.set(chat_id, send);
  }

  #owe(chatId: string, answered: Promise<void>): void {
    this.#owed.set(chatId, answered);
    void answered.then(() => {
      if (this.#owed.get(chatId) === answered) this.#owed.delete(chatId);
    });
  }

  #drop({ chat: { key, chat_id }, event, body }: Delivery, url: string): void {
    this.#close(this.#note({ key, chat_id, event, attempt: 1, url, body }), { error: "dropped" });
  }

  #note(given: Omit<Attempt, "id" | "at">): Attempt {
    const attempt = { id: `delivery_${++this.#made}`, ...given, at: this.#world.clock.now() };
    this.#attempts.push(attempt);
    if (this.#attempts.length > KEPT) this.#attempts.shift();
    return attempt;
  }

  #close(attempt: Attempt, outcome: Outcome): Attempt {
    Object.assign(attempt, outcome);
    this.#waiting.look();
    return attempt;
  }

  #find({ key, chat_id, event }: Wanted): Attempt[] {
    return this.#attempts.filter(
      (attempt) =>
        (attempt.status !== undefined || attempt.error !== undefined) &&
        (key === undefined || attempt.key === key) &&
        (chat_id === undefined || attempt.chat_id === chat_id) &&
        (event === undefined || attempt.event === event),
    );
  }
}

/**
 * The chat as it is at the event, so that an end has no analysis yet. The words are there whatever is stored: this may
 * be their only copy.
 */
function payload(chat: Chat, event: ChatEvent, world: World, at: number): Record<string, unknown> {
  const profile = world.profileOf(chat);
  const item = showItem(chat, profile, at);
  return event === "chat_started" ? item : { ...item, ...history(chat, profile, at) };
}

/** Follows from the seed, the chat's place in the order of creation and the event's place in its life. */
function troubleOf({ seed, rates, maxMs }: Disorder, chat: Chat) {
  const digits = hexOf(8, seed, "webhook", chat.number, chat.events.length);
  const number = numbersFrom(Number.parseInt(digits, 16));
  return { kind: kindAt(number(), TROUBLES, rates), ms: Math.ceil(number() * maxMs), maxMs };
}

/** @see retell-sdk, lib/webhook_auth: `v=<ms>,d=<HMAC-SHA256 of body and ms>` */
function sign(body: string, { signingKeys }: Webhook, key: string, ageMs = 0): Promise<string> {
  return symmetric.sign(body, signingKeys?.[0] ?? key, Date.now() - ageMs);
}

const isSuccess = (outcome: Outcome) => "status" in outcome && outcome.status >= 200 && outcome.status < 300;

const shown = (attempt: Attempt) => ({ ...attempt, body: JSON.parse(attempt.body) });

type Way = { timeoutMs: number; signal: AbortSignal; handedOver?: () => void };

/**
 * Posts over a connection of its own. Resolves when there is a whole answer or there will be none; never rejects.
 *
 * @param handedOver   Called when all of the request has gone out.
 */
function post({ url, body, signature = "" }: Attempt, { timeoutMs, signal, handedOver }: Way): Promise<Outcome> {
  return new Promise((resolve) => {
    const posting = request(url, {
      method: "POST",
      agent: false,
      signal,
      headers: {
        "content-type": "application/json",
        "content-length": Buffer.byteLength(body),
        "x-retell-signature": signature,
      },
    });
    let isAnswered = false;
    const timer = setTimeout(() => posting.destroy(new Error("timeout")), timeoutMs);
    const fail = (error: NodeJS.ErrnoException) => over({ error: error.code ?? error.message });
    const over = (outcome: Outcome) => {
      clearTimeout(timer);
      resolve(outcome);
    };

    posting.on("error", fail);
    posting.on("response", (response) => {
      isAnswered = true;
      const status = response.statusCode ?? 0;
      finished(response.resume(), (error) => (error ? fail(error) : over({ status })));
    });
    // The connection may close without an error, too: after an answer to a question that was not asked (101).
    posting.on("close", () => isAnswered || over({ error: "no answer" }));
    if (handedOver) posting.on("finish", handedOver);
    posting.end(body);
  });
}
