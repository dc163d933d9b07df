import { randomUUID } from "node:crypto";
import { profileByName } from "./agents.ts";
import { Clock } from "./clock.ts";
import { keepUntilSettled } from "./keep.ts";
import { analysisOf, costOf, nextOf } from "./later.ts";
import { hexOf } from "./random.ts";
import { notFound } from "./refusal.ts";
import type { Chat, ChatEvent, ChatStatus, Entry, Profile, Saved, Settings, Webhook } from "./schema.ts";
import { DEFAULT_SETTINGS } from "./schema.ts";

/** The version of an agent without `agent_version`, or with a tag. */
const LATEST = 1;

/** The simulator's state, and all functions that change it. */
export class World {
  readonly clock: Clock;
  readonly chats = new Map<string, Chat>();
  readonly agents: Map<string, Profile>;
  settings: Settings;
  /** The maps that follow are by API key. */
  readonly keySettings: Map<string, Partial<Settings>>;
  /** The status that a refused key gets. */
  readonly refusedKeys: Map<string, number>;
  readonly webhooks: Map<string, Webhook>;
  /** Called for each event of a chat, after the chat has changed. */
  onEvent: (chat: Chat, event: ChatEvent) => void = () => {};
  /** Called after each change, for the state file. */
  onChange: () => void = () => {};

  readonly #seed: string | number;
  #created: number;
  /** By chat id: cancels the timer of what happens next. */
  readonly #timers = new Map<string, () => void>();
  /** By id of a pending reply: resolves the promise of `reply`. */
  readonly #replies = new Map<string, (entries?: Entry[]) => void>();
  /** By chat id: the last completion in the queue. */
  readonly #queues = new Map<string, Promise<unknown>>();

  constructor({ seed = randomUUID(), saved }: { seed?: string | number; saved?: Saved } = {}) {
    this.#seed = seed;
    this.#created = saved?.created ?? 0;
    this.clock = new Clock(saved?.clockOffsetMs);
    this.settings = saved?.settings ?? DEFAULT_SETTINGS;
    this.agents = new Map(Object.entries(saved?.agents ?? {}));
    this.keySettings = new Map(Object.entries(saved?.keySettings ?? {}));
    this.refusedKeys = new Map(Object.entries(saved?.refusedKeys ?? {}));
    this.webhooks = new Map(Object.entries(saved?.webhooks ?? {}));
    for (const chat of saved?.chats ?? []) this.#store(chat);
  }

  save(): Saved {
    return {
      clockOffsetMs: this.clock.offsetMs,
      created: this.#created,
      chats: [...this.chats.values()],
      agents: Object.fromEntries(this.agents),
      settings: this.settings,
      keySettings: Object.fromEntries(this.keySettings),
      refusedKeys: Object.fromEntries(this.refusedKeys),
      webhooks: Object.fromEntries(this.webhooks),
    };
  }

  profileOf({ agent_id }: Pick<Chat, "agent_id">): Profile {
    return this.agents.get(agent_id) ?? profileByName(agent_id);
  }

  settingsOf(key: string): Settings {
    return { ...this.settings, ...this.keySettings.get(key) };
  }

  /** @throws 422 if the workspace has no such chat. */
  find(key: string, chatId: string): Chat {
    const chat = this.chats.get(chatId);
    if (chat?.key !== key || !chat.retained) throw notFound();
    return chat;
  }

  /** Adds a chat, ongoing and without entries unless `given` says otherwise. Emits no event. */
  add(key: string, agent_id: string, given: Partial<Chat> = {}): Chat {
    const number = ++this.#created;
    const digits = hexOf(33, this.#seed, "chat", number);
    const now = this.clock.now();
    return this.#store({
      // Retell's ids have 27 or 32 digits.
      chat_id: `chat_${digits.slice(1, digits < "8" ? 28 : 33)}`,
      key,
      number,
      agent_id,
      version: LATEST,
      status: "ongoing",
      start_timestamp: now,
      lastActivity: now,
      collected: {},
      entries: [],
      minted: 0,
      pending: [],
      reruns: 0,
      retained: true,
      events: [],
      ...defined(given),
    });
  }

  /** An id for something of this chat. */
  newId(chat: Chat, kind: string): string {
    return `${kind}_${hexOf(24, this.#seed, chat.number, ++chat.minted)}`;
  }

  /** Adds entries to the history, with an id and a time where they have none. Returns them as stored. */
  append(chat: Chat, entries: Entry[], at = this.clock.now()): Entry[] {
    const added = entries.map((entry) => ({
      message_id: this.newId(chat, "message"),
      created_timestamp: at,
      ...entry,
    }));
    chat.entries.push(...added);
    chat.lastActivity = at;
    this.reschedule(chat);
    return added;
  }

  /**
   * Adds a reply of the agent, now or later, whether or not a caller still waits for it.
   *
   * @returns   The entries as stored; undefined if the chat ended first.
   */
  async reply(chat: Chat, messages: Entry[], outcome: ChatStatus, delayMs: number): Promise<Entry[] | undefined> {
    if (delayMs <= 0) return this.#deliver(chat, messages, outcome, this.clock.now());
    const id = this.newId(chat, "reply");
    chat.pending.push({ id, at: this.clock.now() + delayMs, messages, outcome });
    this.reschedule(chat);
    return new Promise((resolve) => this.#replies.set(id, resolve));
  }

  /** Ends the chat and drops its pending replies. Does nothing if the chat has ended already. */
  end(chat: Chat, status: "ended" | "error", reason: string, at = this.clock.now()): void {
    if (chat.status !== "ongoing") return;
    Object.assign(chat, { status, end_timestamp: at, disconnection_reason: reason });
    this.#dropPending(chat);
    this.emit(chat, "chat_ended", at);
  }

  remove(chat: Chat): void {
    this.#dropPending(chat);
    this.chats.delete(chat.chat_id);
    this.#cancelTimer(chat);
    this.onChange();
  }

  /** Removes everything. The clock stays, and ids go on, so that no id is used twice. */
  reset(): void {
    for (const chat of [...this.chats.values()]) this.remove(chat);
    for (const map of [this.agents, this.refusedKeys, this.keySettings, this.webhooks]) map.clear();
    this.settings = DEFAULT_SETTINGS;
    this.onChange();
  }

  emit(chat: Chat, event: ChatEvent, at = this.clock.now()): void {
    chat.events.push({ event, at });
    this.reschedule(chat);
    this.onEvent(chat, event);
  }

  /** To be called after each change of a chat: what happens next may now happen at another time. */
  reschedule(chat: Chat): void {
    this.#cancelTimer(chat);
    const next = nextOf(chat, this.profileOf(chat));
    if (next) {
      const run = (at: number) => {
        this.#timers.delete(chat.chat_id);
        this.#happen(chat, next.what, at);
      };
      this.#timers.set(chat.chat_id, this.clock.at(next.at, run));
    }
    this.onChange();
  }

  /** Runs the completions of a chat one after the other, in the order of arrival. */
  inQueue<Result>(chat: Chat, run: () => Promise<Result>): Promise<Result> {
    if (this.settingsOf(chat.key).together === "interleave") return run();
    const before = this.#queues.get(chat.chat_id);
    const result = before ? before.then(run, run) : run();
    keepUntilSettled<unknown>(this.#queues, chat.chat_id, result);
    return result;
  }

  #store(chat: Chat): Chat {
    this.chats.set(chat.chat_id, chat);
    this.reschedule(chat);
    return chat;
  }

  #cancelTimer({ chat_id }: Chat): void {
    this.#timers.get(chat_id)?.();
    this.#timers.delete(chat_id);
  }

  #happen(chat: Chat, what: NonNullable<ReturnType<typeof nextOf>>["what"], at: number): void {
    const profile = this.profileOf(chat);
    switch (what) {
      case "reply": {
        const due = chat.pending.find((pending) => pending.at <= at);
        if (!due) break;
        chat.pending = chat.pending.filter((pending) => pending !== due);
        this.#settle(due.id, this.#deliver(chat, due.messages, due.outcome, at));
        break;
      }
      case "silence":
        if (profile.auto_close_message) this.append(chat, [{ role: "agent", content: profile.auto_close_message }], at);
        this.end(chat, "ended", "inactivity", at);
        break;
      case "cost":
        chat.cost = costOf(chat);
        this.reschedule(chat);
        break;
      case "analysis":
        chat.analysis = analysisOf(chat, profile);
        chat.rerunAt = undefined;
        if (chat.reruns > 0 && chat.cost) chat.cost = costOf(chat);
        this.emit(chat, "chat_analyzed", at);
        break;
      case "retention":
        chat.retained = false;
        this.reschedule(chat);
    }
  }

  #deliver(chat: Chat, messages: Entry[], outcome: ChatStatus, at: number): Entry[] {
    const entries = this.append(chat, messages, at);
    if (outcome !== "ongoing") this.end(chat, outcome, outcome === "ended" ? "agent_hangup" : "error_retell", at);
    return entries;
  }

  #dropPending(chat: Chat): void {
    for (const { id } of chat.pending) this.#settle(id);
    chat.pending = [];
  }

  #settle(replyId: string, entries?: Entry[]): void {
    this.#replies.get(replyId)?.(entries);
    this.#replies.delete(replyId);
  }
}

/** Without the fields that are undefined: a spread of those would overwrite other values. */
export function defined<Fields extends object>(fields: Fields): Partial<Fields> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<Fields>;
}
