import type { ChatView, Message } from "@scalai/chat";

export type ShownMessage = Message & {
  /** It has failed, or was pending for longer than its sender waited. Without `delivery` it has arrived late. */
  isOverdue?: boolean;
};

export type ShownView = Omit<ChatView, "messages"> & { messages: ShownMessage[] };

/** The API answers a send within this time, with an unknown outcome if need be. */
export const ANSWER_MS = 27_000;

/** Marks the messages that are overdue, and keeps the marks of the view before. `now` is the server's time, epoch ms. */
export function withOverdue(before: ShownView | undefined, view: ChatView, now: number): ShownView {
  const known = new Map(before?.messages.map((message) => [message.seq, message]));
  const messages = view.messages.map((message) => {
    const was = message.seq === undefined ? undefined : known.get(message.seq);
    const hasWaited = now - (message.created_timestamp ?? now) > ANSWER_MS;
    const isOverdue =
      message.delivery === "failed" || (hasWaited && [was?.delivery, message.delivery].includes("pending"));
    return isOverdue || was?.isOverdue ? { ...message, isOverdue: true } : message;
  });
  return { ...view, messages };
}
