import { mkdir, open, readFile, rename } from "node:fs/promises";
import { dirname } from "node:path";
import { Saved } from "./schema.ts";

const PAUSE_MS = 200;

/** What a former run has left; undefined when there was none. */
export async function load(file: string): Promise<Saved | undefined> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT") return undefined;
    throw cause;
  }
  try {
    return Saved.parse(JSON.parse(text));
  } catch (cause) {
    throw new Error(`${file} does not hold the simulator's state: delete it to start anew`, { cause });
  }
}

/** Saves soon after a change, many changes at once, one write after the other. */
export class StateFile {
  readonly #file: string;
  readonly #state: () => Saved;
  #timer: NodeJS.Timeout | undefined;
  #writing: Promise<void> = Promise.resolve();

  constructor(file: string, state: () => Saved) {
    this.#file = file;
    this.#state = state;
  }

  saveSoon(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.save().catch((error: unknown) => console.error(`${this.#file} cannot be written:`, error));
    }, PAUSE_MS);
  }

  /** Resolves when the file holds what is known now. */
  save(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const write = () => this.#write();
    this.#writing = this.#writing.then(write, write);
    return this.#writing;
  }

  /** Written beside and then renamed: whoever dies in between leaves the file as it was. */
  async #write(): Promise<void> {
    await mkdir(dirname(this.#file), { recursive: true });
    const beside = `${this.#file}.new`;
    const handle = await open(beside, "w", 0o600); // it holds what users said
    try {
      await handle.writeFile(JSON.stringify(this.#state()));
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(beside, this.#file);
  }
}
