const KEPT = 1_000;

/** The last 1000 records of a kind. Callers can wait for records that have not come yet. */
export class Journal<Entry> {
  #entries: Entry[] = [];
  readonly #checks = new Set<() => void>();

  add(entry: Entry): Entry {
    this.#entries.push(entry);
    if (this.#entries.length > KEPT) this.#entries.shift();
    this.#check();
    return entry;
  }

  update(entry: Entry, fields: Partial<Entry>): Entry {
    Object.assign(entry as object, fields);
    this.#check();
    return entry;
  }

  find(matches: (entry: Entry) => boolean): Entry[] {
    return this.#entries.filter(matches);
  }

  /** Resolves with the matching entries as soon as there are `count` of them, or when the signal aborts. */
  findAtLeast(count: number, matches: (entry: Entry) => boolean, signal?: AbortSignal): Promise<Entry[]> {
    return new Promise((resolve) => {
      const finish = () => {
        this.#checks.delete(check);
        signal?.removeEventListener("abort", finish);
        resolve(this.find(matches));
      };
      const check = () => {
        if (this.find(matches).length >= count) finish();
      };
      this.#checks.add(check);
      signal?.addEventListener("abort", finish);
      check();
    });
  }

  clear(): void {
    this.#entries = [];
  }

  #check(): void {
    for (const check of this.#checks) check();
  }
}

/** Whether an entry has the given values in the given fields; a field that is undefined or null is not compared. */
export function hasFields<Entry extends object>(wanted: { [Field in keyof Entry]?: unknown }) {
  const fields = Object.entries(wanted).filter(([, value]) => value !== undefined && value !== null);
  return (entry: Entry) => fields.every(([name, value]) => entry[name as keyof Entry] === value);
}
