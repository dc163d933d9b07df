import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mergeHistory } from "../../lib/chat/legacy.ts";
import type { StoredMessage } from "../../lib/chat/model.ts";
import type { RetellMessage } from "../../lib/retell/schema.ts";

const entry = fc.record(
  {
    role: fc.constantFrom("user", "agent", "tool_call_invocation"),
    content: fc.constantFrom("ok", "ok ", "no", "hello"),
    message_id: fc.uuid(),
    tool_call_id: fc.constantFrom("call_0"),
  },
  { requiredKeys: ["role", "content"] },
);
const history = fc.uniqueArray(entry, { maxLength: 8, selector: ({ message_id }) => message_id ?? {} });
const said = (messages: (RetellMessage | StoredMessage)[]) =>
  messages.map(({ role, content }) => `${role} ${content?.trim()}`);

describe("an import", () => {
  it("holds Retell's history in its order, and each of our messages with its id", () => {
    fc.assert(
      fc.property(history, history, fc.infiniteStream(fc.boolean()), (entries, strangers, stream) => {
        const some = entries.filter(() => stream.next().value);
        const ours = [...some, ...strangers.filter(() => stream.next().value)].map((one) => ({ ...one }));
        const imported = mergeHistory(ours, entries);

        const order = said(imported);
        let at = 0;
        for (const one of said(entries)) {
          const place = order.indexOf(one, at);
          expect(place).toBeGreaterThanOrEqual(at);
          at = place + 1;
        }
        const ids = imported.map(({ message_id }) => message_id);
        expect(new Set(ids).size).toBe(ids.length);
        for (const { message_id } of ours) if (message_id) expect(ids).toContain(message_id);
        const count = (list: string[], one: string) => list.filter((other) => other === one).length;
        for (const one of said(ours)) expect(count(order, one)).toBeGreaterThanOrEqual(count(said(ours), one));
      }),
    );
  });

  it("made again changes nothing, and adds nothing to a part of the history", () => {
    fc.assert(
      fc.property(history, fc.nat(8), (entries, from) => {
        const first = mergeHistory(entries.slice(from), entries);
        expect(said(first)).toEqual(said(entries));
        expect(mergeHistory(first, entries)).toEqual(first);
      }),
    );
  });

  it("keeps what was said where Retell shows it scrubbed, and completes a text that stopped in the middle", () => {
    const ours = [
      { role: "user", message_id: "1", content: "I am ana@x.example" },
      { role: "agent", message_id: "2", content: "I have fou" },
    ];
    const entries = [
      { role: "user", message_id: "1", content: "I am [email]" },
      { role: "agent", message_id: "2", content: "I have found it" },
      { role: "agent", message_id: "3", content: "I have" },
    ];
    const contents = mergeHistory(ours, entries).map(({ content }) => content);
    expect(contents).toEqual(["I am ana@x.example", "I have found it", "I have"]);
  });
});
