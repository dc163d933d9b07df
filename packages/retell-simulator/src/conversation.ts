import type { ChatStatus, Entry, Profile, Variables } from "./schema.ts";

/** What one answer of the agent depends on: nothing else does, so the same conversation gives the same texts. */
export type Said = {
  content: string;
  /** How many messages the user has sent, this one included. */
  turn: number;
  variables: Variables;
  place: string;
  newId: () => string;
};

export type Reply = { messages: Entry[]; outcome: ChatStatus; place: string; collected: Variables };

type Topic = { hint: string; when: RegExp; reply: (said: Said) => Partial<Reply> & { messages: Entry[] } };

const SHOP = "Fernwood Lamps";
const JOURNEYS = ["being packed in our workshop", "on its way and due tomorrow", "delivered, according to the courier"];

const agent = (content: string): Entry => ({ role: "agent", content });

/** ", Ada" when the chat knows a name. */
const byName = ({ variables }: Said) => (variables.customer_name ? `, ${variables.customer_name}` : "");

/** Puts dynamic variables into a text; one that is not set stays as `{{name}}`, as Retell leaves it. */
export function fill(text: string, variables: Variables): string {
  return text.replace(/\{\{\s*([\w.-]+)\s*\}\}/g, (whole, name: string) =>
    Object.hasOwn(variables, name) ? (variables[name] ?? whole) : whole,
  );
}

/** A tool call and its result, under one id. */
function toolCall(said: Said, name: string, input: object, output: object, successful = true): Entry[] {
  const tool_call_id = said.newId();
  const invocation: Entry = { role: "tool_call_invocation", tool_call_id, name, arguments: JSON.stringify(input) };
  // Only some models sign their thoughts; odd turns stand for those.
  if (said.turn % 2 === 1) invocation.thought_signature = `sig_${tool_call_id}`;
  return [invocation, { role: "tool_call_result", tool_call_id, content: JSON.stringify(output), successful }];
}

function node(from: string, to: string): Entry {
  return {
    role: "node_transition",
    former_node_id: `node_${from}`,
    former_node_name: from,
    new_node_id: `node_${to}`,
    new_node_name: to,
    transition_type: "normal",
  };
}

function lookUpOrder(said: Said): Partial<Reply> & { messages: Entry[] } {
  const number = /\d{2,}/.exec(said.content)?.[0] ?? said.variables.order_number ?? "1042";
  const status = JOURNEYS[Number(number.slice(-6)) % JOURNEYS.length] ?? "with us";
  return {
    messages: [
      ...toolCall(said, "lookup_order", { order_number: number }, { order_number: number, status }),
      agent(`I have found order ${number}${byName(said)}: it is ${status}. Can I do anything else for you?`),
    ],
    collected: { order_number: number },
  };
}

/** In the order in which they are tried. */
const TOPICS: Topic[] = [
  {
    hint: "goodbye",
    when: /\b(goodbye|bye|farewell)\b/,
    reply: (said) => ({
      messages: [
        agent(`It was a pleasure${byName(said)}. Goodbye, and may your lamps burn long!`),
        ...toolCall(said, "end_chat", { reason: "the customer said goodbye" }, { ended: true }),
      ],
      outcome: "ended",
    }),
  },
  { hint: "silence", when: /\bsilence\b/, reply: () => ({ messages: [] }) },
  {
    hint: "think",
    when: /\bthink\b/,
    reply: (said) => ({
      messages: toolCall({ ...said, turn: 1 }, "search_manual", { query: said.content }, { hits: 0 }),
    }),
  },
  {
    hint: "crash",
    when: /\bcrash\b/,
    reply: () => ({ messages: [agent("One moment, something is wrong here...")], outcome: "error" }),
  },
  {
    hint: "refund",
    when: /\b(refund|money back)\b/,
    reply: (said) => ({
      messages: [
        agent(`I am sorry that the lamp did not please you${byName(said)}.`),
        agent("I have started your refund. The money is back on your account in three to five days."),
      ],
      collected: { refund: "started" },
    }),
  },
  {
    hint: "broken tool",
    when: /\b(broken tool|tool fails)\b/,
    reply: (said) => ({
      messages: [
        ...toolCall(said, "check_stock", { item: "lamp" }, { error: "the warehouse does not answer" }, false),
        agent("Our warehouse does not answer just now. May I write to you once I know more?"),
      ],
    }),
  },
  { hint: "order 1042", when: /\b(order|parcel|package|delivery)\b/, reply: lookUpOrder },
  {
    hint: "billing",
    when: /\b(billing|invoice|transfer)\b/,
    reply: (said) => ({
      messages: [node(said.place, "billing"), agent("You are with billing now. Which invoice is it about?")],
      place: "billing",
    }),
  },
  {
    hint: "back to support",
    when: /\bback\b/,
    reply: (said) => ({
      messages: [
        { role: "state_transition", former_state_name: said.place, new_state_name: "support" },
        agent("And here is support again. How can I help?"),
      ],
      place: "support",
    }),
  },
  {
    hint: "picture",
    when: /\b(picture|photo)\b/,
    reply: () => ({
      messages: [
        {
          ...agent("This is our lamp Juniper: brass foot, green shade."),
          multimedia: [{ url: "https://shop.example/juniper.jpg", summary: "A brass lamp with a green shade" }],
        },
      ],
    }),
  },
  {
    hint: "surprise",
    when: /\bsurprise\b/,
    reply: () => ({
      messages: [
        { role: "role_from_the_future", mood: "cheerful", content: "Nobody has documented this." },
        agent("Surprise! One of my messages has a role that you do not know."),
      ],
    }),
  },
  {
    hint: "long",
    when: /\blong\b/,
    reply: () => ({ messages: [agent("A lamp is a promise that the evening can wait. ".repeat(100).trim())] }),
  },
  {
    hint: "my name",
    when: /\b(my name|who am i)\b/,
    reply: ({ variables }) => ({ messages: [agent(fill("I have you down as {{customer_name}}.", variables))] }),
  },
  {
    hint: "hello",
    when: /\b(hello|hi|hey|good (morning|evening))\b/,
    reply: (said) => ({ messages: [agent(`Hello${byName(said)}! What can I do for you?`)] }),
  },
  {
    hint: "help",
    when: /\bhelp\b/,
    reply: () => ({ messages: [agent(`Try one of these: ${keywords().join(", ")}.`)] }),
  },
];

/** Words that the agent of the shop knows an answer to. */
export function keywords(): string[] {
  return TOPICS.map((topic) => topic.hint);
}

/** The message that the model would open with. */
export function greeting(variables: Variables): string {
  const name = variables.customer_name;
  return `Hello${name ? `, ${name}` : ""}! You have reached ${SHOP}. How can I help you today?`;
}

function echo(said: Said): Entry[] {
  return [agent(`You said: ${said.content} (message ${said.turn}${byName(said)})`)];
}

/**
 * What the agent answers. A text without a keyword is echoed, and so is any text that begins with "ping", which lets
 * a test say what it likes.
 */
export function converse(said: Said, script: Profile["script"]): Reply {
  const unchanged = { outcome: "ongoing" as const, place: said.place, collected: {} };
  const text = said.content.toLowerCase();

  const line = script.find(({ says }) => text.includes(says.toLowerCase()));
  if (line) {
    const messages = line.messages.map((message) =>
      message.content === undefined ? message : { ...message, content: fill(message.content, said.variables) },
    );
    return { ...unchanged, messages, outcome: line.outcome };
  }

  const topic = text.startsWith("ping") ? undefined : TOPICS.find(({ when }) => when.test(text));
  return { ...unchanged, ...(topic ? topic.reply(said) : { messages: echo(said) }) };
}
