import type { Dice } from "./dice.ts";

/**
 * Every other message has this text. Its send's number follows as white space, which Retell's history does not show, so
 * only the checks can distinguish these messages.
 */
export const commonText = "ok";

/** An agent with a guardrail shows a placeholder for texts with this word. */
export const guardedWord = "secret";
export const guardedAgent = "agent_quiet_guarded";

/** The common text of one send. */
export function common(number: number): string {
  const space = [...number.toString(2)].map((digit) => (digit === "1" ? "\t" : " ")).join("");
  return `${commonText}${space}\n`;
}

/** A client's text: different from all others, and sometimes in a form that Retell does not keep. */
export function textOf(dice: Dice, key: string, number: number, mayEnd: boolean): string {
  if (dice.chance(0.5)) return common(number);
  if (mayEnd && dice.chance(0.008)) return `goodbye ${key}`;
  const say = dice.of(kinds);
  return say(key);
}

const plain = (key: string) => `my ${key}`;
const kinds: [(key: string) => string, ...((key: string) => string)[]] = [
  plain,
  ...Array.from({ length: 10 }, () => plain),
  (key) => `order 1042 for ${key}`,
  (key) => `order 1043 for ${key}`,
  (key) => `refund for ${key}`,
  (key) => `think of ${key}`,
  (key) => `silence for ${key}`,
  (key) => `  caf\u00e9 of ${key} \t`,
  (key) => `cafe\u0301 of ${key}\r\n`,
  (key) => `two\r\nlines of ${key}`,
  (key) => `${guardedWord} of ${key}`,
];

/** A text without the parts that Retell may change. */
export function normal(text: string | undefined): string {
  return (text ?? "").normalize("NFC").replace(/\s+/g, " ").trim();
}
