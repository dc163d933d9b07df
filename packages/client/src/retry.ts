import type { ChatError } from "./errors.ts";

const firstDelayMs = 300;
const maxDelayMs = 8_000;

/** Errors of a class that is retried, which a retry does not change. */
const final = new Set<string>(["API_KEY_DECRYPTION_ERROR"]);

/**
 * How long to wait before the next attempt, in ms; undefined when a repeat would bring the same answer. The API's
 * Retry-After is the least; jitter keeps clients apart that failed at the same moment.
 *
 * @param number  How many attempts were made.
 */
export function retryDelay(error: ChatError, number: number): number | undefined {
  if (!isRetried(error)) return undefined;
  const growingMs = Math.min(maxDelayMs, firstDelayMs * 2 ** (number - 1));
  const leastMs = Math.max(growingMs / 2, (error.retryAfter ?? 0) * 1000);
  return leastMs + (Math.random() * growingMs) / 2;
}

function isRetried({ code, status, outcome }: ChatError): boolean {
  if (outcome === "undecided" || final.has(code)) return false;
  if (code === "ABORTED" || code === "DEADLINE_EXCEEDED") return false;
  if (code === "CHAT_BUSY" || code === "REQUEST_IN_PROGRESS" || code === "NETWORK_ERROR") return true;
  // Less than 400 was no answer of the API, whatever it said.
  return status === 429 || status >= 500 || (code === "UNREADABLE_ANSWER" && status < 400);
}
