import type { ChatStatus, Entry, Profile, Variables } from "./schema.ts";

/** All that a reply depends on, so that the same conversation gives the same texts. */
export type Turn = {
  content: string;
  /** How many messages the user has sent, with this one. */
  number: number;
  variables: Variables;
  node: string;
  newId: () => string;
};

/** `node` and `collected`: what the turn changes in the chat. */
export type Reply = { messages: Entry[]; outcome?: ChatStatus; node?: string; collected?: Variables };

type Topic = [hint: string, pattern: RegExp, reply: (turn: Turn) => Reply];

const JOURNEYS = ["being packed in our workshop", "on its way and due tomorrow", "delivered, according to the courier"];

const agent = (content: string): Entry => ({ role: "agent", content });

/** ", Ada" if the customer's name is known. */
const comma = ({ customer_name: name }: Variables) => (name ? `, ${name}` : "");

/** Puts dynamic variables into a text. One that is not set stays as `{{name}}`, as at Retell. */
export function fill(text: string, variables: Variables): string {
  return text.replace(/\{\{\s*([\w.-]+)\s*\}\}/g, (whole, name: string) =>
    Object.hasOwn(variables, name) ? (variables[name] ?? whole) : whole,
  );
}

/** A tool call and its result, under one id. Only some models sign: here every other turn does. */
function toolCall(turn: Turn, name: string, input: object, output: object, successful = true): Entry[] {
  const tool_call_id = turn.newId();
  const invocation: Entry = { role: "tool_call_invocation", tool_call_id, name, arguments: JSON.stringify(input) };
  if (turn.number % 2 === 1) invocation.thought_signature = `sig_${tool_call_id}`;
  return [invocation, { role: "tool_call_result", tool_call_id, content: JSON.stringify(output), successful }];
}

function lookUpOrder(turn: Turn): Reply {
  const number = /\d{2,}/.exec(turn.content)?.[0] ?? turn.variables.order_number ?? "1042";
  const status = JOURNEYS[Number(number.slice(-6)) % JOURNEYS.length] ?? "with us";
  return {
    messages: [
      ...toolCall(turn, "lookup_order", { order_number: number }, { order_number: number, status }),
      agent(`I have found order ${number}${comma(turn.variables)}: it is ${status}. Can I do anything else for you?`),
    ],
    collected: { order_number: number },
  };
}

function transferTo(node: string, { node: from }: Turn): Reply {
  const transition = {
    role: "node_transition",
    former_node_id: `node_${from}`,
    former_node_name: from,
    new_node_id: `node_${node}`,
    new_node_name: node,
    transition_type: "normal",
  };
  return { messages: [transition, agent(`You are with ${node} now. Which invoice is it about?`)], node };
}

/** The first topic that matches gives the reply. */
const TOPICS: Topic[] = [
  [
    "goodbye",
    /\b(goodbye|bye|farewell)\b/,
    (turn) => ({
      messages: [
        agent(`It was a pleasure${comma(turn.variables)}. Goodbye, and may your lamps burn long!`),
        ...toolCall(turn, "end_chat", { reason: "the customer said goodbye" }, { ended: true }),
      ],
      outcome: "ended",
    }),
  ],
  ["silence", /\bsilence\b/, () => ({ messages: [] })],
  [
    "think",
    /\bthink\b/,
    (turn) => ({ messages: toolCall({ ...turn, number: 1 }, "search_manual", { query: turn.content }, { hits: 0 }) }),
  ],
  ["crash", /\bcrash\b/, () => ({ messages: [agent("One moment, something is wrong here...")], outcome: "error" })],
  [
    "refund",
    /\b(refund|money back)\b/,
    ({ variables }) => ({
      messages: [
        agent(`I am sorry that the lamp did not please you${comma(variables)}.`),
        agent("I have started your refund. The money is back on your account in three to five days."),
      ],
      collected: { refund: "started" },
    }),
  ],
  [
    "broken tool",
    /\b(broken tool|tool fails)\b/,
    (turn) => ({
      messages: [
        ...toolCall(turn, "check_stock", { item: "lamp" }, { error: "the warehouse does not answer" }, false),
        agent("Our warehouse does not answer just now. May I write to you once I know more?"),
      ],
    }),
  ],
  ["order 1042", /\b(order|parcel|package|delivery)\b/, lookUpOrder],
  ["billing", /\b(billing|invoice|transfer)\b/, (turn) => transferTo("billing", turn)],
  [
    "back to support",
    /\bback\b/,
    ({ node }) => ({
      messages: [
        { role: "state_transition", former_state_name: node, new_state_name: "support" },
        agent("And here is support again. How can I help?"),
      ],
      node: "support",
    }),
  ],
  [
    "picture",
    /\b(picture|photo)\b/,
    () => {
      const multimedia = [{ url: "https://shop.example/juniper.jpg", summary: "A brass lamp with a green shade" }];
      return { messages: [{ ...agent("This is our lamp Juniper: brass foot, green shade."), multimedia }] };
    },
  ],
  [
    "surprise",
    /\bsurprise\b/,
    () => ({
      messages: [
        { role: "role_from_the_future", mood: "cheerful", content: "Nobody has documented this." },
        agent("Surprise! One of my messages has a role that you do not know."),
      ],
    }),
  ],
  [
    "long",
    /\blong\b/,
    () => ({ messages: [agent("A lamp is a promise that the evening can wait. ".repeat(100).trim())] }),
  ],
  [
    "my name",
    /\b(my name|who am i)\b/,
    ({ variables }) => ({ messages: [agent(fill("I have you down as {{customer_name}}.", variables))] }),
  ],
  [
    "hello",
    /\b(hello|hi|hey|good (morning|evening))\b/,
    ({ variables }) => ({ messages: [agent(`Hello${comma(variables)}! What can I do for you?`)] }),
  ],
  ["help", /\bhelp\b/, () => ({ messages: [agent(`Try one of these: ${keywords().join(", ")}.`)] })],
];

/** Texts that the built-in agent has a reply to. */
export function keywords(): string[] {
  return TOPICS.map(([hint]) => hint);
}

/** The opening message of an agent without a fixed one. */
export function greeting(variables: Variables): string {
  return `Hello${comma(variables)}! You have reached Fernwood Lamps. How can I help you today?`;
}

/** The agent's reply. A text without a keyword is echoed, and so is any text that begins with "ping". */
export function converse(turn: Turn, script: Profile["script"]): Reply {
  const text = turn.content.toLowerCase();
  const line = script.find(({ says }) => text.includes(says.toLowerCase()));
  if (line) {
    const messages = line.messages.map((message) =>
      message.content === undefined ? message : { ...message, content: fill(message.content, turn.variables) },
    );
    return { messages, outcome: line.outcome };
  }
  const topic = text.startsWith("ping") ? undefined : TOPICS.find(([, pattern]) => pattern.test(text));
  if (topic) return topic[2](turn);
  return { messages: [agent(`You said: ${turn.content} (message ${turn.number}${comma(turn.variables)})`)] };
}
