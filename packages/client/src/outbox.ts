import { within } from "./wait.ts";

/** A place that outlives a reload, such as `localStorage` or React Native's AsyncStorage. */
export interface Storage {
  getItem(name: string): string | null | Promise<string | null>;
  setItem(name: string, value: string): unknown;
  removeItem(name: string): unknown;
}

/** A message whose outcome is not known yet. */
export interface PendingMessage {
  /** The Idempotency-Key of all its attempts. */
  key: string;
  content: string;
  clientMessageId: string;
  /** Epoch ms, by this device's clock. */
  createdAt: number;
}

/** What is not answered yet, chat by chat, in the order of the sends. */
export interface Outbox {
  read(chatId: string): Promise<PendingMessage[]>;
  /** Resolves with the message of that key that was there already: an earlier attempt of it may have been carried out. */
  add(chatId: string, message: PendingMessage): Promise<PendingMessage | undefined>;
  remove(chatId: string, key: string): Promise<void>;
  clear(chatId: string): Promise<void>;
}

/** Longer than any storage takes that works. One that hangs must not keep messages from being sent. */
const storageMs = 2_000;

/**
 * @param prefix   Begins the name of each entry; names hold the chat's id.
 * @param onError  Told when the storage fails. The client goes on: it then forgets unanswered messages at a reload.
 */
export function outboxIn(storage: Storage, prefix: string, onError?: (error: unknown) => void): Outbox {
  // One change after another: two that overlap would lose one.
  let changes: Promise<unknown> = Promise.resolve();
  const inTurn = <T>(run: () => Promise<T>): Promise<T> => {
    const result = changes.then(() => within(run(), { signal: undefined, deadline: Date.now() + storageMs }));
    changes = result.catch(() => {});
    return result;
  };
  const nameOf = (chatId: string) => `${prefix}/${chatId}`;
  const load = (chatId: string) => {
    const held = storage.getItem(nameOf(chatId));
    return typeof held === "string" || held === null ? parse(held) : Promise.resolve(held).then(parse);
  };

  /** Read and write follow each other at once where the storage is synchronous, so that no other tab comes between. */
  const change = (chatId: string, edit: (held: PendingMessage[]) => PendingMessage[]) =>
    inTurn(async () => {
      const save = (held: PendingMessage[]) => {
        const left = edit(held);
        if (left.length === 0) return storage.removeItem(nameOf(chatId));
        return storage.setItem(nameOf(chatId), JSON.stringify(left));
      };
      const held = load(chatId);
      await (Array.isArray(held) ? save(held) : held.then(save));
    }).catch((error: unknown) => void onError?.(error));

  return {
    read: (chatId) =>
      inTurn(async () => load(chatId)).catch((error: unknown) => {
        onError?.(error);
        return [];
      }),
    async add(chatId, message) {
      let earlier: PendingMessage | undefined;
      await change(chatId, (held) => {
        earlier = held.find(({ key }) => key === message.key);
        return earlier ? held : [...held, message];
      });
      return earlier;
    },
    clear: (chatId) => change(chatId, () => []),
    remove: (chatId, key) => change(chatId, (held) => held.filter((one) => one.key !== key)),
  };
}

/** Whatever else wrote under this name is ignored. */
function parse(text: string | null): PendingMessage[] {
  try {
    const held: unknown = JSON.parse(text ?? "[]");
    return Array.isArray(held) ? held.filter(isPending) : [];
  } catch {
    return [];
  }
}

function isPending(given: unknown): given is PendingMessage {
  const { key, content, clientMessageId, createdAt } = Object(given);
  return [key, content, clientMessageId].every((text) => typeof text === "string") && typeof createdAt === "number";
}

/** Without a storage, unanswered messages are known until the page is closed. */
export function memory(): Storage {
  const held = new Map<string, string>();
  return {
    getItem: (name) => held.get(name) ?? null,
    setItem: (name, value) => held.set(name, value),
    removeItem: (name) => held.delete(name),
  };
}
