import { type Attempt, isSuccess, post, sign } from "./deliveries.ts";
import { hasFields, Journal } from "./journal.ts";
import { keepUntilSettled } from "./keep.ts";
import { oddBody, textOf } from "./odd.ts";
import { kindAt, numbersOf } from "./random.ts";
import { type Chat, type ChatEvent, DISORDERS, type Disorder, Webhook } from "./schema.ts";
import { history, showItem } from "./view.ts";
import type { World } from "./world.ts";

/** An event on its way. The body is of the time of the event; URL and signature are of the time of each attempt. */
type Delivery = { chat: Chat; event: ChatEvent; body: string; signal: AbortSignal };

/**
 * Sends the events of chats to the webhooks of their workspaces as Retell does: a chat's events in their order, without
 * waiting for the response to one before the next is sent, so that a retry comes after a later event.
 *
 * Delays and retries follow the simulator's clock. Signatures and timeouts follow real time, as the receiver does.
 */
export class Webhooks {
  readonly #world: World;
  readonly #attempts = new Journal<Attempt>();
  #made = 0;
  /** Aborted by a reset or a stop, which ends everything that is under way. */
  #running = new AbortController();
  /** By chat id: resolves when the last request has been sent. */
  readonly #sent = new Map<string, Promise<void>>();
  /** By chat id: the first attempt that the request that caused an event waits for. */
  readonly #awaited = new Map<string, Promise<void>>();
  /** By chat id: sends the event that waits until the next one has overtaken it. */
  readonly #swapped = new Map<string, () => void>();

  constructor(world: World) {
    this.#world = world;
    world.onEvent = (chat, event) => this.#onEvent(chat, event);
  }

  /**
   * Resolves after the first attempt to deliver the chat's last event, if its webhook has `beforeAnswer`. To be called
   * once, and right after the event.
   */
  async firstAttempt(chatId: string): Promise<void> {
    const attempt = this.#awaited.get(chatId);
    this.#awaited.delete(chatId);
    await attempt;
  }

  /** The attempts that are over, in the order in which they were made, as soon as there are `count` of them. */
  async findAtLeast(count: number, wanted: { [Field in keyof Attempt]?: unknown }, signal: AbortSignal) {
    const matches = hasFields<Attempt>(wanted);
    const isOver = ({ status, error }: Attempt) => status !== undefined || error !== undefined;
    const found = await this.#attempts.findAtLeast(count, (attempt) => isOver(attempt) && matches(attempt), signal);
    return found.map(shown);
  }

  /** Forgets all attempts, and gives up those under way. */
  reset(): void {
    this.stop();
    this.#running = new AbortController();
    this.#attempts.clear();
  }

  /** Gives up everything that is under way. */
  stop(): void {
    this.#running.abort();
    for (const map of [this.#sent, this.#awaited, this.#swapped]) map.clear();
  }

  #onEvent(chat: Chat, event: ChatEvent): void {
    const webhook = this.#webhookOf(chat);
    if (!webhook?.events.includes(event)) return;
    const shownChat = payload(chat, event, this.#world);
    const body = textOf({ event, chat: webhook.odd.reduce<unknown>((odd, name) => oddBody(name, odd), shownChat) });
    const delivery = { chat, event, body, signal: this.#running.signal };
    const disorder = webhook.disorder && drawDisorder(webhook.disorder, chat);
    const sendSwapped = this.#swapped.get(chat.chat_id);

    if (disorder?.kind === "drop") this.#drop(delivery, webhook.url);
    else if (disorder?.kind === "delay") this.#later(disorder.ms, () => this.#send(delivery));
    else if (disorder?.kind === "swap" && !sendSwapped) this.#swap(delivery, disorder.maxMs);
    else {
      const firstAttempt = this.#send(delivery);
      if (webhook.beforeAnswer) keepUntilSettled(this.#awaited, chat.chat_id, firstAttempt);
      if (disorder?.kind === "duplicate") this.#later(disorder.ms, () => this.#send(delivery));
    }
    sendSwapped?.();
  }

  /** The webhook for a chat's events: an agent's URL replaces the workspace's, the other settings stay. */
  #webhookOf(chat: Chat): Webhook | undefined {
    const webhook = this.#world.webhooks.get(chat.key);
    const url = this.#world.profileOf(chat).webhook_url ?? webhook?.url;
    return url === undefined ? undefined : { ...(webhook ?? Webhook.parse({ url })), url };
  }

  /** Sends after the chat's other requests have been sent. Resolves after the first attempt. Never rejects. */
  #send(delivery: Delivery): Promise<void> {
    const { chat_id } = delivery.chat;
    const { promise: sent, resolve } = Promise.withResolvers<void>();
    const before = this.#sent.get(chat_id) ?? Promise.resolve();
    const firstAttempt = before.then(() => this.#attempt(delivery, 1, resolve));
    void firstAttempt.then(resolve);
    keepUntilSettled(this.#sent, chat_id, sent);
    return firstAttempt;
  }

  async #attempt(delivery: Delivery, number: number, onSent?: () => void): Promise<void> {
    const { chat, event, body, signal } = delivery;
    const webhook = this.#webhookOf(chat);
    if (!webhook || signal.aborted) return;
    const { key, chat_id } = chat;
    const signature = sign(body, webhook, key);
    const attempt = this.#log({ key, chat_id, event, attempt: number, url: webhook.url, signature, body });
    const outcome = await post(attempt, { timeoutMs: webhook.timeoutMs, signal, onSent });
    if (!isSuccess(outcome) && number <= webhook.retries && !signal.aborted) {
      this.#later(webhook.retryDelayMs, () => this.#attempt(delivery, number + 1));
    }
    // Logged after the retry is scheduled: a test that waits for the failure may advance the clock at once.
    this.#attempts.update(attempt, outcome);
  }

  #later(ms: number, run: () => Promise<void>): () => void {
    return this.#world.clock.at(this.#world.clock.now() + ms, () => void run());
  }

  #swap(delivery: Delivery, maxMs: number): void {
    const { chat_id } = delivery.chat;
    const send = async () => {
      cancel();
      this.#swapped.delete(chat_id);
      await this.#send(delivery);
    };
    const cancel = this.#later(maxMs, send);
    this.#swapped.set(chat_id, send);
  }

  #drop({ chat: { key, chat_id }, event, body }: Delivery, url: string): void {
    this.#attempts.update(this.#log({ key, chat_id, event, attempt: 1, url, body }), { error: "dropped" });
  }

  #log(attempt: Omit<Attempt, "id" | "at">): Attempt {
    return this.#attempts.add({ id: `delivery_${++this.#made}`, ...attempt, at: this.#world.clock.now() });
  }
}

/**
 * The chat at the time of the event. It has the messages even if the agent does not store them: this may be their only
 * copy.
 */
function payload(chat: Chat, event: ChatEvent, world: World): Record<string, unknown> {
  const profile = world.profileOf(chat);
  const item = showItem(chat, profile);
  return event === "chat_started" ? item : { ...item, ...history(chat, profile) };
}

/** Depends on the seed, the chat's number and the event's place among the chat's events. */
function drawDisorder({ seed, rates, maxMs }: Disorder, chat: Chat) {
  const number = numbersOf(seed, "webhook", chat.number, chat.events.length);
  return { kind: kindAt(number(), DISORDERS, rates), ms: Math.ceil(number() * maxMs), maxMs };
}

const shown = (attempt: Attempt) => ({ ...attempt, body: JSON.parse(attempt.body) });
