import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hasGap, isEmpty, merge } from "../../lib/chat/merge.ts";

/** What Retell may tell, with placeholders at any depth. */
const { value } = fc.letrec<{ value: unknown }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.constantFrom(null, "", "a", "b", 0, 1, false, true),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(fc.constantFrom("a", "b", "c", "toString"), tie("value"), { maxKeys: 3 }),
  ),
}));

/** The values that stand in one, by their paths; a list of other length is one value. */
function present(of: unknown, path = ""): [string, unknown][] {
  if (isEmpty(of)) return [];
  if (typeof of !== "object" || of === null) return [[path, of]];
  return Object.entries(of).flatMap(([name, inside]) => present(inside, `${path}.${name}`));
}

/** The same with some of its values taken out, at any depth. */
function emptied(of: unknown, stream: Iterator<unknown>): unknown {
  const { value: nothing } = stream.next();
  if (nothing !== "stays") return nothing;
  if (Array.isArray(of)) return of.map((item) => emptied(item, stream));
  if (typeof of !== "object" || of === null) return of;
  return Object.fromEntries(Object.entries(of).map(([name, inside]) => [name, emptied(inside, stream)]));
}

describe("what Retell told and what it tells now", () => {
  it("merged, say what it tells now wherever that is a value", () => {
    fc.assert(
      fc.property(value, value, (older, newer) => {
        const merged = new Map(present(merge(older, newer)));
        for (const [path, told] of present(newer)) expect(merged.get(path)).toBe(told);
      }),
    );
  });

  it("merged, lose no value to nothing", () => {
    const nothing = fc.constantFrom<unknown>(undefined, null, "", [], {}, [null], { a: "" });
    fc.assert(
      fc.property(value, fc.infiniteStream(fc.option(nothing, { nil: "stays" })), (older, stream) => {
        expect(present(merge(older, emptied(older, stream)))).toEqual(present(older));
      }),
    );
  });

  it("merged twice are as merged once, and nothing changes nothing", () => {
    fc.assert(
      fc.property(value, value, (older, newer) => {
        const once = merge(older, newer);
        expect(merge(once, newer)).toEqual(once);
        expect(merge(older, null)).toBe(older);
        expect(merge(older, { a: null, b: { c: [""] } })).toBe(older);
      }),
    );
  });

  it("mix no two items of a list: what differs in all that both say is another one", () => {
    const lamps = [{ sku: "L-1", count: 2, note: "red" }];
    expect(merge(lamps, [{ sku: "L-2", count: 1 }])).toEqual([{ sku: "L-2", count: 1 }]);
    expect(merge(lamps, [{ sku: "L-2" }])).toEqual([{ sku: "L-2" }]);
    expect(merge(lamps, [{ sku: "L-1", count: 3, note: null }])).toEqual([{ sku: "L-1", count: 3, note: "red" }]);
  });

  it("keep what is no plain value as it is", () => {
    const date = new Date();
    expect(merge({ at: date, n: 1 }, { at: null, n: 2 })).toEqual({ at: date, n: 2 });
    expect(isEmpty(date)).toBe(false);
  });

  it("are complete only without placeholders", () => {
    expect([{ a: null }, { a: { b: "" } }, { a: [null] }].map(hasGap)).toEqual([true, true, true]);
    expect([{ a: 0 }, { a: { b: false } }, { a: [], b: {} }].map(hasGap)).toEqual([false, false, false]);
  });
});
