import { randomUUID } from "node:crypto";
import { profileByName } from "./agents.ts";
import { Clock } from "./clock.ts";
import { analysisOf, costOf, nextOf } from "./later.ts";
import { hexOf } from "./random.ts";
import { missing } from "./refusal.ts";
import {
  type Chat,
  type ChatEvent,
  type ChatStatus,
  type Entry,
  type Profile,
  type Saved,
  Settings,
  type Webhook,
} from "./schema.ts";

/** The version that "latest" stands for, and every tag. */
const LATEST = 1;

type Waiting = (spoken: Entry[] | undefined) => void;

/** Everything the simulator knows, and the only place where it changes. */
export class World {
  readonly clock: Clock;
  readonly chats = new Map<string, Chat>();
  readonly agents = new Map<string, Profile>();
  /** Keys which are not (or no longer) good, and the status they get. */
  readonly refusedKeys = new Map<string, number>();
  settings: Settings;
  readonly keySettings = new Map<string, Partial<Settings>>();
  /** Key -> whom its workspace tells of events. */
  readonly webhooks = new Map<string, Webhook>();
  /** Told of each event of a chat, when the chat is as the event left it. */
  onEvent: (chat: Chat, event: ChatEvent, at: number) => void = () => {};
  /** Told after each change; the state file listens. */
  onChange: () => void = () => {};

  readonly #seed: string | number;
  #created: number;
  readonly #cancels = new Map<string, () => void>();
  readonly #waiting = new Map<string, Waiting>();
  readonly #turns = new Map<string, Promise<unknown>>();

  constructor({ seed, saved }: { seed?: number; saved?: Saved } = {}) {
    this.#seed = seed ?? randomUUID();
    this.#created = saved?.created ?? 0;
    this.clock = new Clock(saved?.clockOffsetMs);
    this.settings = saved?.settings ?? Settings.parse({});
    for (const [id, profile] of Object.entries(saved?.agents ?? {})) this.agents.set(id, profile);
    for (const [key, settings] of Object.entries(saved?.keySettings ?? {})) this.keySettings.set(key, settings);
    for (const [key, status] of Object.entries(saved?.refusedKeys ?? {})) this.refusedKeys.set(key, status);
    for (const [key, webhook] of Object.entries(saved?.webhooks ?? {})) this.webhooks.set(key, webhook);
    for (const chat of saved?.chats ?? []) {
      this.chats.set(chat.chat_id, chat);
      this.touched(chat);
    }
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

  /** @throws 422 when this workspace has no such chat, or no longer has it. */
  find(key: string, chatId: string): Chat {
    const chat = this.chats.get(chatId);
    if (chat?.key !== key || !chat.retained) throw missing();
    return chat;
  }

  /** Adds a chat, `ongoing` and without a word unless `given` says otherwise. Tells nobody: see `changed`. */
  add(key: string, agent_id: string, given: Partial<Chat> = {}): Chat {
    const number = ++this.#created;
    const digits = hexOf(33, this.#seed, "chat", number);
    const now = this.clock.now();
    const chat: Chat = {
      // Retell's own ids come in both lengths.
      chat_id: `chat_${digits.slice(1, digits < "8" ? 28 : 33)}`,
      key,
      number,
      agent_id,
      version: LATEST,
      status: "ongoing",
      start_timestamp: now,
      lastActivity: now,
      collected: {},
      place: "support",
      entries: [],
      minted: 0,
      pending: [],
      reruns: 0,
      retained: true,
      events: [],
      ...defined(given),
    };
    this.chats.set(chat.chat_id, chat);
    this.touched(chat);
    return chat;
  }

  /** An id for something of this chat. */
  newId(chat: Chat, kind: string): string {
    return `${kind}_${hexOf(24, this.#seed, chat.number, ++chat.minted)}`;
  }

  /** Adds to the history, giving an id and a time to each entry that has none. Returns the entries as held. */
  append(chat: Chat, entries: Entry[], at = this.clock.now()): Entry[] {
    const added = entries.map((entry) => ({
      message_id: this.newId(chat, "message"),
      created_timestamp: at,
      ...entry,
    }));
    chat.entries.push(...added);
    chat.lastActivity = at;
    this.touched(chat);
    return added;
  }

  /**
   * Lets the agent say something, now or later, whether or not anybody waits for it.
   *
   * @returns   What was added, or undefined when the chat ended before it came to that.
   */
  async speak(chat: Chat, messages: Entry[], outcome: ChatStatus, delayMs: number): Promise<Entry[] | undefined> {
    if (delayMs <= 0) return this.#deliver(chat, messages, outcome, this.clock.now());
    const id = this.newId(chat, "reply");
    chat.pending.push({ id, at: this.clock.now() + delayMs, messages, outcome });
    this.touched(chat);
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  /** Ends the chat; what the agent has not said by then stays unsaid. Changes nothing when it has ended already. */
  end(chat: Chat, status: "ended" | "error", reason: string, at = this.clock.now()): void {
    if (chat.status !== "ongoing") return;
    chat.status = status;
    chat.end_timestamp = at;
    chat.disconnection_reason = reason;
    this.#dropPending(chat);
    this.changed(chat, "chat_ended", at);
  }

  /** Takes the chat out of the world, as a delete does. */
  remove(chat: Chat): void {
    this.#dropPending(chat);
    this.chats.delete(chat.chat_id);
    this.#cancels.get(chat.chat_id)?.();
    this.#cancels.delete(chat.chat_id);
    this.onChange();
  }

  /** As new, but for the clock and the ids: time does not run backwards, and no id is given twice. */
  reset(): void {
    for (const chat of [...this.chats.values()]) this.remove(chat);
    this.agents.clear();
    this.refusedKeys.clear();
    this.keySettings.clear();
    this.webhooks.clear();
    this.settings = Settings.parse({});
    this.onChange();
  }

  /** Every event of a chat's life passes here, in order. */
  changed(chat: Chat, event: ChatEvent, at = this.clock.now()): void {
    chat.events.push({ event, at });
    this.touched(chat);
    this.onEvent(chat, event, at);
  }

  /** To be called after any change of a chat: what comes next for it may come at another time now. */
  touched(chat: Chat): void {
    this.#cancels.get(chat.chat_id)?.();
    this.#cancels.delete(chat.chat_id);
    const next = nextOf(chat, this.profileOf(chat));
    if (next) {
      const cancel = this.clock.at(next.at, (at) => {
        this.#cancels.delete(chat.chat_id);
        this.#happen(chat, next.what, at);
      });
      this.#cancels.set(chat.chat_id, cancel);
    }
    this.onChange();
  }

  /** Runs one completion of a chat after the other, in the order of arrival. */
  inTurn<Result>(chat: Chat, run: () => Promise<Result>): Promise<Result> {
    if (this.settingsOf(chat.key).together === "interleave") return run();
    const before = this.#turns.get(chat.chat_id);
    const result = before ? before.then(run, run) : run();
    this.#turns.set(chat.chat_id, result);
    const forget = () => {
      if (this.#turns.get(chat.chat_id) === result) this.#turns.delete(chat.chat_id);
    };
    result.then(forget, forget);
    return result;
  }

  #happen(chat: Chat, what: NonNullable<ReturnType<typeof nextOf>>["what"], at: number): void {
    const profile = this.profileOf(chat);
    switch (what) {
      case "reply": {
        const due = chat.pending.find((pending) => pending.at <= at);
        if (!due) break;
        chat.pending = chat.pending.filter((pending) => pending !== due);
        const spoken = this.#deliver(chat, due.messages, due.outcome, at);
        this.#waiting.get(due.id)?.(spoken);
        this.#waiting.delete(due.id);
        break;
      }
      case "silence":
        if (profile.auto_close_message) this.append(chat, [{ role: "agent", content: profile.auto_close_message }], at);
        this.end(chat, "ended", "inactivity", at);
        break;
      case "cost":
        chat.cost = costOf(chat);
        this.touched(chat);
        break;
      case "analysis":
        chat.analysis = analysisOf(chat, profile);
        chat.rerunAt = undefined;
        if (chat.reruns > 0 && chat.cost) chat.cost = costOf(chat);
        this.changed(chat, "chat_analyzed", at);
        break;
      case "retention":
        chat.retained = false;
        this.touched(chat);
    }
  }

  #deliver(chat: Chat, messages: Entry[], outcome: ChatStatus, at: number): Entry[] {
    const spoken = this.append(chat, messages, at);
    if (outcome !== "ongoing") this.end(chat, outcome, outcome === "ended" ? "agent_hangup" : "error_retell", at);
    return spoken;
  }

  #dropPending(chat: Chat): void {
    for (const { id } of chat.pending) {
      this.#waiting.get(id)?.(undefined);
      this.#waiting.delete(id);
    }
    chat.pending = [];
  }
}

/** Without the fields that are undefined: spread over others, those would wipe them out. */
export function defined<Fields extends object>(fields: Fields): Partial<Fields> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<Fields>;
}
