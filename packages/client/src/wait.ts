import { AbortError, type ChatError, DeadlineError } from "./errors.ts";

/** What ends a call early. */
export interface Limits {
  /** Aborts the call; it rejects with an AbortError. */
  signal?: AbortSignal | undefined;
  /** Ends the call after so many ms, retries and the wait in the chat's queue included. */
  timeoutMs?: number | undefined;
}

/** A signal and a point in time (epoch ms) that bound one call. */
export interface Bounds {
  signal: AbortSignal | undefined;
  deadline: number;
}

/** How long a call goes on, if it gives no `timeoutMs`. A message's outcome is known after six minutes at the latest. */
export const defaultTimeouts = { writeMs: 6 * 60_000, readMs: 60_000, exportMs: 60 * 60_000 };

/** `setTimeout` runs at once what is later than this. */
const maxTimerMs = 2 ** 31 - 1;

/**
 * Waits for a promise, at most until the deadline or the abort. React Native and older browsers lack AbortSignal.any
 * and AbortSignal.timeout, so this uses a timer and a listener.
 *
 * @param onEnd  Called when the wait ends early.
 * @throws AbortError or DeadlineError
 */
export function within<T>(promise: Promise<T>, { signal, deadline }: Bounds, onEnd?: (why: ChatError) => void) {
  return new Promise<T>((resolve, reject) => {
    const end = (why: ChatError) => {
      done();
      onEnd?.(why);
      reject(why);
    };
    const abort = () => end(aborted(signal));
    const late = () => end(new DeadlineError({ code: "DEADLINE_EXCEEDED", message: "The deadline passed" }));
    const timer = setTimeout(late, Math.min(Math.max(0, deadline - Date.now()), maxTimerMs));
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
    };
    promise.then(resolve, reject).finally(done);
    if (signal?.aborted) abort();
    else signal?.addEventListener("abort", abort);
  });
}

/** Waits, unless the signal aborts first. */
export async function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const over = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms);
  });
  await within(over, { signal, deadline: Number.POSITIVE_INFINITY }).finally(() => clearTimeout(timer));
}

function aborted(signal: AbortSignal | undefined): AbortError {
  return new AbortError({ code: "ABORTED", message: "The call was aborted", cause: signal?.reason });
}

/** A random UUID, version 4, also where `crypto.randomUUID` is missing: React Native, pages without HTTPS. */
export function uuid(): string {
  const { crypto } = globalThis as { crypto?: Partial<typeof globalThis.crypto> };
  if (crypto?.randomUUID) return crypto.randomUUID();
  const bytes = new Uint8Array(16);
  if (crypto?.getRandomValues) crypto.getRandomValues(bytes);
  else for (let at = 0; at < 16; at++) bytes[at] = Math.random() * 256; // it must be unlike others, not unguessable
  bytes[6] = (Number(bytes[6]) & 0x0f) | 0x40;
  bytes[8] = (Number(bytes[8]) & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
