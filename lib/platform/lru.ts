/** A map that drops the least recently used entry. For module-level caches, because a warm Lambda lives for hours. */
export class Lru<V> {
  private readonly items = new Map<string, { value: V; until: number }>();
  private readonly max: number;
  /** The earliest `until` of all items. */
  private nextExpiry = Number.POSITIVE_INFINITY;

  constructor(max: number) {
    this.max = max;
  }

  get(key: string): V | undefined {
    this.dropExpired();
    const item = this.items.get(key);
    if (item === undefined) return undefined;
    this.items.delete(key);
    this.items.set(key, item);
    return item.value;
  }

  /** @param until Epoch ms after which the value is dropped, even if nobody reads it. Default: never. */
  set(key: string, value: V, until = Number.POSITIVE_INFINITY): void {
    this.items.delete(key);
    this.items.set(key, { value, until });
    this.nextExpiry = Math.min(this.nextExpiry, until);
    this.dropExpired();
    for (const oldest of this.items.keys()) {
      if (this.items.size <= this.max) break;
      this.items.delete(oldest);
    }
  }

  delete(key: string): void {
    this.items.delete(key);
  }

  /** At each use instead of by a timer: a timer stands still while a Lambda is frozen. */
  private dropExpired(): void {
    const now = Date.now();
    if (now < this.nextExpiry) return;
    this.nextExpiry = Number.POSITIVE_INFINITY;
    for (const [key, { until }] of this.items) {
      if (until <= now) this.items.delete(key);
      else this.nextExpiry = Math.min(this.nextExpiry, until);
    }
  }
}
