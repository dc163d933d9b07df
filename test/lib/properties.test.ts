import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Access, type Actor, checkPermission } from "../../lib/access/membership.ts";
import type { ChatSnapshot, StoredMessage } from "../../lib/chat/model.ts";
import { toStoredMessage } from "../../lib/chat/new-message.ts";
import { reconcile } from "../../lib/chat/reconcile.ts";
import { SubaccountId } from "../../lib/chat/schema.ts";
import { visibleMessages } from "../../lib/chat/view.ts";
import type { RetellMessage } from "../../lib/retell/schema.ts";
import { runs } from "../support/runs.ts";

describe("decide", () => {
  const flags = fc.record({ read: fc.boolean(), write: fc.boolean(), delete: fc.boolean(), admin: fc.boolean() });
  const membership = fc.record({
    role: fc.constantFrom("viewer", "editor", "admin", "owner"),
    isActive: fc.boolean(),
    permissions: flags,
    expiresAt: fc.option(fc.integer({ min: 0, max: 200 })),
  });
  const subaccount = fc.record(
    { isActive: fc.boolean(), maintenanceMode: fc.boolean(), maintenanceMessage: fc.string() },
    { requiredKeys: ["isActive", "maintenanceMode"] },
  );
  const access: fc.Arbitrary<Access> = fc.record({
    readAt: fc.constant(0),
    epoch: fc.constant(""),
    membership: fc.option(membership),
    subaccount: fc.option(subaccount),
  });
  const actor: fc.Arbitrary<Actor> = fc.record({
    id: fc.constant("u"),
    role: fc.constantFrom("super_admin", "admin", "user"),
  });
  const permission = fc.constantFrom("read", "write", "delete", "admin");
  const now = 100;

  it("lets nobody in by taking a right away, closing the subaccount, or asking later", () => {
    fc.assert(
      fc.property(access, actor, permission, (given, who, what) => {
        const { membership: member, subaccount: place } = given;
        const poorer: Access[] = [
          { ...given, membership: null },
          { ...given, membership: member && { ...member, isActive: false } },
          { ...given, membership: member && { ...member, permissions: { ...member.permissions, [what]: false } } },
          { ...given, membership: member && { ...member, expiresAt: now } },
          { ...given, subaccount: null },
          { ...given, subaccount: place && { ...place, isActive: false } },
          { ...given, subaccount: place && { ...place, maintenanceMode: true } },
        ];
        const verdicts = poorer.map((less) => checkPermission(less, who, what, now).allowed);
        if (who.role !== "super_admin") expect(verdicts).not.toContain(true);
        else expect(verdicts.slice(4, 6)).toEqual([false, false]);
        if (!checkPermission(given, who, what, now).allowed) {
          expect(verdicts).not.toContain(true);
          expect(checkPermission(given, who, what, now + 1).allowed).toBe(false);
        }
      }),
    );
  });

  it("tells a stranger, or a member who may not, the same whatever the subaccount is like", () => {
    fc.assert(
      fc.property(access, fc.option(subaccount), permission, (given, place, what) => {
        const who: Actor = { id: "u", role: "user" };
        fc.pre(!given.membership?.isActive || !given.membership.permissions[what]);
        expect(checkPermission(given, who, what, now)).toEqual(
          checkPermission({ ...given, subaccount: place }, who, what, now),
        );
      }),
    );
  });
});

it("a subaccountId has one spelling inside, and no other text is one", () => {
  const hex = fc.string({ unit: fc.constantFrom(..."0123456789abcdefABCDEF"), minLength: 24, maxLength: 24 });
  fc.assert(
    fc.property(hex, (id) => {
      expect(SubaccountId.parse(id)).toBe(id.toLowerCase());
    }),
  );
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string({ unit: "grapheme" }),
        hex.map((id) => `${id}\n`),
        fc.anything(),
      ),
      (other) => {
        const { success, data } = SubaccountId.safeParse(other);
        if (success) expect(data).toMatch(/^[0-9a-f]{24}$/);
      },
    ),
  );
});

describe("the merge with Retell's history", () => {
  /** How a chat goes on, there and here. */
  type Event =
    /** Somebody else sends at Retell; the agent replies so many times. */
    | { kind: "elsewhere"; replies: number }
    /** We send, if we are up to date; the reply comes with the ids that the history will have, or without. */
    | { kind: "ours"; replies: number; withIds: boolean }
    | { kind: "word" }
    | { kind: "tool" }
    /** A word that Retell adds to an earlier part of the chat. */
    | { kind: "late"; part: number }
    /** We read: one of all states that the history ever had, with some ids missing. */
    | { kind: "read"; age: number; hidden: number };

  const event: fc.Arbitrary<Event> = fc.oneof(
    fc.record({ kind: fc.constant("elsewhere" as const), replies: fc.nat(2) }),
    fc.record({ kind: fc.constant("ours" as const), replies: fc.nat(2), withIds: fc.boolean() }),
    fc.record({ kind: fc.constant("word" as const) }),
    fc.record({ kind: fc.constant("tool" as const) }),
    fc.record({ kind: fc.constant("late" as const), part: fc.nat(5) }),
    fc.record({ kind: fc.constant("read" as const), age: fc.nat(8), hidden: fc.nat() }),
  );

  const limits = { settleMs: 330_000, settleAfter500Ms: 15_000 };
  const isUser = ({ role }: RetellMessage) => role === "user";

  /** Retell's side: the history, every state that it had, and which of its entries came late. */
  class History {
    states: RetellMessage[][] = [[]];
    late = new Set<string>();
    private count = 0;

    get now(): RetellMessage[] {
      return this.states.at(-1) ?? [];
    }

    entry(role: string): RetellMessage {
      const n = this.count++;
      // Of what people say half is alike; what the agent says is told apart by its text.
      return { role, message_id: `m${n}`, content: isUser({ role }) ? `ok ${n % 2}` : `${role} ${n}` };
    }

    add(...entries: RetellMessage[]): void {
      this.states.push([...this.now, ...entries]);
    }

    addLate(part: number): void {
      const users = this.now.flatMap((entry, index) => (isUser(entry) ? [index] : []));
      const at = users[part] ?? this.now.length; // before the next user's, else at the end like any word
      const word = this.entry("agent");
      if (at < this.now.length) this.late.add(String(word.content));
      this.states.push(this.now.toSpliced(at, 0, word));
    }
  }

  function step(chat: ChatSnapshot, entries: RetellMessage[]): boolean {
    const next = reconcile(chat, { chat_status: "ongoing", message_with_tool_calls: entries }, limits);
    const internal = chat.internal as NonNullable<ChatSnapshot["internal"]>;
    if (next.kind === "append") {
      chat.messages.push(...next.entries);
      internal.retellUserCount = next.retellUserCount;
      return true;
    }
    if (next.kind === "prepend") {
      chat.messages.unshift(...next.entries);
      internal.prependedCount = (internal.prependedCount ?? 0) + next.entries.length;
      return true;
    }
    expect(next.kind).toBe("none");
    return false;
  }

  function read(chat: ChatSnapshot, history: RetellMessage[], hidden: number): void {
    const seen = history.map(({ message_id, ...entry }, i) =>
      (hidden >> (i % 30)) & 1 || message_id === undefined ? entry : { message_id, ...entry },
    );
    for (let steps = 0; step(chat, seen); steps++) expect(steps).toBeLessThan(5);
  }

  /** Our own send and its reply, both sides. */
  function send(chat: ChatSnapshot, history: History, replies: number, withIds: boolean): void {
    // What was said before and we did not know of comes behind our message, in the order of learning.
    for (const { content = "" } of history.now) {
      if (!chat.messages.some((message) => message.content === content)) history.late.add(content);
    }
    const user = history.entry("user");
    const reply = [...Array(replies)].map(() => history.entry("agent"));
    history.add(user, ...reply);
    const turn = String(user.message_id);
    const own: StoredMessage = {
      role: "user",
      content: user.content,
      message_id: `own ${turn}`,
      internal: { turn, hasLocalId: true },
    };
    const told = withIds ? reply : reply.map(({ message_id: _none, ...entry }) => entry);
    chat.messages.push(own, ...told.map((entry) => toStoredMessage(entry, turn)));
    if (chat.internal) chat.internal.retellUserCount += 1;
  }

  it("comes to that history by any of its states in any order, and changes nothing that it showed", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 25 }), (events) => {
        const history = new History();
        const chat = {
          messages: [],
          now: new Date(),
          chat_status: "ongoing",
          internal: { revision: 1, retellUserCount: 0 },
        } as unknown as ChatSnapshot;
        const shown = new Map<number, unknown>();

        for (const happens of [...events, { kind: "read", age: 0, hidden: 0 } as const]) {
          if (happens.kind === "elsewhere") {
            history.add(history.entry("user"), ...[...Array(happens.replies)].map(() => history.entry("agent")));
          } else if (happens.kind === "word") history.add(history.entry("agent"));
          else if (happens.kind === "tool") {
            const { message_id: tool_call_id = "", content } = history.entry("tool_call_invocation");
            history.add(
              { role: "tool_call_invocation", tool_call_id, content: String(content) },
              { role: "tool_call_result", tool_call_id, content: `${content} result` },
            );
          } else if (happens.kind === "late") history.addLate(happens.part);
          else if (happens.kind === "ours") {
            const isUpToDate = history.now.filter(isUser).length === chat.internal?.retellUserCount;
            if (isUpToDate) send(chat, history, happens.replies, happens.withIds);
          } else read(chat, history.states.at(-1 - happens.age) ?? [], happens.hidden);

          for (const { seq, message_id, role, content } of visibleMessages(chat, true)) {
            const message = { message_id, role, content };
            expect(shown.get(seq) ?? message).toEqual(message);
            shown.set(seq, message);
          }
          expect(visibleMessages(chat, true)).toHaveLength(shown.size);
        }

        const texts = (entries: (RetellMessage | StoredMessage)[]) =>
          entries.map(({ role, content }) => `${role}: ${content}`);
        expect(texts(chat.messages).sort()).toEqual(texts(history.now).sort());
        const inTime = ({ content = "" }: RetellMessage) => !history.late.has(content);
        expect(texts(chat.messages.filter(inTime))).toEqual(texts(history.now.filter(inTime)));
        expect(new Set(chat.messages.map(({ message_id }) => message_id ?? {})).size).toBe(chat.messages.length);
      }),
      { numRuns: runs(2_000) },
    );
  });
});
