import type { StoredMessage } from "../../lib/chat/model.ts";
import { type Language, languages, topics } from "./languages.ts";
import type { Random } from "./random.ts";

/** What was said in a chat of customer service, and how it went. */
export interface Talk {
  messages: StoredMessage[];
  /** A code of BCP 47. */
  language: string;
  topic: (typeof topics)[number];
  sentiment: "Positive" | "Neutral" | "Negative";
  isSolved: boolean;
}

const byShare = Object.entries(languages).flatMap(([code, { share }]) => new Array<string>(share).fill(code));

/** The agent opens the chat, then user and agent alternate. */
export function talk(count: number, start: number, random: Random): Talk {
  const language = random.of(byShare);
  const phrases = languages[language] as Language;
  const topic = random.between(0, topics.length - 1);
  const sentiment = random.of(["Positive", "Positive", "Neutral", "Neutral", "Negative"] as const);
  const said = sentences(phrases, topic, count, sentiment === "Negative", random);
  const fill = fillingOf(phrases, random);

  let at = start + 300;
  let turn: string | undefined;
  const messages = said.map((sentence, index) => {
    const isUser = index % 2 === 1;
    at += isUser ? random.between(3_000, 60_000) : random.between(700, 6_000);
    if (isUser) turn = random.uuid();
    return {
      message_id: `msg_${random.uuid()}`,
      role: isUser ? "user" : "agent",
      content: fill(sentence),
      created_timestamp: at,
      internal: turn ? { turn } : {},
    };
  });
  return {
    messages,
    language,
    topic: topics[topic] ?? "order",
    sentiment,
    isSolved: random.next() < (sentiment === "Negative" ? 0.3 : 0.9),
  };
}

/** The problem comes first, its solution and the thanks last. What lies between depends on the length. */
function sentences(phrases: Language, topic: number, count: number, isUnhappy: boolean, random: Random): string[] {
  const lastOfUser = count % 2 === 0 ? count - 1 : count - 2;
  const first = random.between(0, 99);
  const inTurn = (choices: string[], index: number) => choices[(first + (index >> 1)) % choices.length] ?? "";
  return Array.from({ length: count }, (_, index) => {
    if (index === 0) return random.of(phrases.opening);
    if (index === 1) return phrases.problem[topic] ?? "";
    if (index === lastOfUser) return random.of(isUnhappy ? phrases.complaint : phrases.thanks);
    if (index > lastOfUser) return (isUnhappy ? phrases.closing.at(-1) : random.of(phrases.closing)) ?? "";
    if (index === 2) return random.of(phrases.asking);
    if (index % 2 === 1) return index === 3 ? random.of(phrases.detail) : inTurn(phrases.more, index);
    const checked = inTurn(phrases.checking, index);
    return index > lastOfUser - 2 ? `${checked} ${phrases.solution[topic]}` : checked;
  });
}

/** Order number and amount stay the same in one chat. */
function fillingOf(phrases: Language, random: Random) {
  const order = `${random.of(["A", "B", "K", "R"])}-${random.between(10_000, 99_999)}`;
  const amount = `${random.between(9, 480)}.${random.of(["00", "50", "90", "99"])} €`;
  const product = random.of(phrases.products);
  const once: Record<string, string> = { order, amount, product, name: random.of(phrases.names) };
  const each: Record<string, string[]> = { place: phrases.places, day: phrases.days };
  return (sentence: string) =>
    sentence.replace(/\{(\w+)\}/g, (_, slot: string) => once[slot] ?? random.of(each[slot] ?? [""]));
}
