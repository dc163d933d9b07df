import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { Saved } from "./schema.ts";

const DEBOUNCE_MS = 200;

/** What a former run has saved; undefined if the file does not exist. */
export async function load(file: string): Promise<Saved | undefined> {
  try {
    return Saved.parse(JSON.parse(await readFile(file, "utf8")));
  } catch (cause) {
    if (cause instanceof Error && "code" in cause) {
      if (cause.code === "ENOENT") return undefined;
      throw cause;
    }
    throw new Error(`${file} does not hold the simulator's state: delete it to start anew`, { cause });
  }
}

/** Saves the state soon after a change, many changes at once, one write after the other. */
export class StateFile {
  readonly #file: string;
  readonly #state: () => Saved;
  #timeout: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(file: string, state: () => Saved) {
    this.#file = file;
    this.#state = state;
  }

  saveSoon(): void {
    this.#timeout ??= setTimeout(() => {
      this.save().catch((error: unknown) => console.error(`${this.#file} cannot be written:`, error));
    }, DEBOUNCE_MS);
  }

  /** Resolves when the file holds the current state. */
  save(): Promise<void> {
    clearTimeout(this.#timeout);
    this.#timeout = undefined;
    const write = () => this.#write();
    this.#writing = this.#writing.then(write, write);
    return this.#writing;
  }

  /** Writes another file and renames it, so that a crash leaves the old file intact. */
  async #write(): Promise<void> {
    await mkdir(dirname(this.#file), { recursive: true });
    const temporary = `${this.#file}.new`;
    const handle = await open(temporary, "w", 0o600); // it holds what users wrote
    try {
      await handle.writeFile(JSON.stringify(this.#state()));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(temporary, this.#file);
  }
}
