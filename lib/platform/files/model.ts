/** A part of a file that is being written. */
export interface FilePart {
  number: number;
  etag: string;
}

/** How a file is offered to whoever has its link. */
export interface Offer {
  seconds: number;
  /** The name under which it is saved. */
  saveAs: string;
  type: string;
}

/**
 * Where files are kept that are too large for an answer. A file is written in parts, each of which may be written
 * again, and is there when it is finished: whole, or not at all.
 *
 * Names are `<folder>/<folder>/<name>.<ending>`, of A-Z, a-z, 0-9, _ and -. Every function throws when the store cannot
 * be reached, and may be repeated then.
 */
export interface Files {
  /** Begins a file. Returns the id of the upload. */
  begin(name: string): Promise<string>;
  /** Stores a part, or replaces it. All but the last must have 5 MB at least. */
  put(name: string, upload: string, number: number, bytes: Buffer): Promise<FilePart>;
  /** Makes the file of these parts, in the order of their numbers. Other parts are dropped. Twice does no harm. */
  finish(name: string, upload: string, parts: FilePart[]): Promise<void>;
  /** Deletes a file, and what has been uploaded of it. It need not be there. */
  discard(name: string, upload: string | undefined): Promise<void>;
  /** An address at which anybody can read the file for a while. */
  link(name: string, offer: Offer): Promise<string>;
}

/** How long a file is kept. The bucket's lifecycle deletes it then, or a while later. */
export const fileMs = 24 * 60 * 60_000;
