import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Lru } from "../../lib/platform/lru.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["Date"], now: 1_000 });
});
afterEach(() => vi.useRealTimers());

it("drops what was used longest ago", () => {
  const lru = new Lru<string>(2);
  lru.set("a", "A");
  lru.set("b", "B");
  lru.get("a");
  lru.set("c", "C");
  expect(["a", "b", "c"].map((key) => lru.get(key))).toEqual(["A", undefined, "C"]);
});

it.each<[string, (lru: Lru<string>) => void]>([
  ["reading", (lru) => lru.get("other")],
  ["writing", (lru) => lru.set("other", "O", 9_000)],
])("holds nothing that has expired after %s something else: turning the clock back brings it not back", (_how, use) => {
  const lru = new Lru<string>(10);
  lru.set("late", "L", 3_000);
  lru.set("early", "E", 2_000);
  lru.set("forever", "F");
  const held = () => {
    vi.setSystemTime(0);
    return ["early", "late", "forever"].map((key) => lru.get(key) ?? "");
  };
  for (const [now, holds] of [
    [1_999, "ELF"],
    [2_000, "LF"],
    [2_999, "LF"],
    [3_000, "F"],
  ] as const) {
    vi.setSystemTime(now);
    use(lru);
    expect(held().join("")).toBe(holds);
  }
});

it("does not keep a value that has expired already", () => {
  const lru = new Lru<string>(10);
  lru.set("a", "A", 500);
  vi.setSystemTime(0);
  expect(lru.get("a")).toBeUndefined();
});
