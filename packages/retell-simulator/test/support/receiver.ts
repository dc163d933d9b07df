import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import { text } from "node:stream/consumers";
import Retell from "retell-sdk";
import { Journal } from "../../src/journal.ts";
import { Json } from "../../src/schema.ts";

/** One webhook as it came. */
export type Received = {
  event: string;
  chat_id: string;
  chat: Record<string, unknown>;
  raw: string;
  signature: string;
  contentType: string;
};

export const eventsOf = (received: Received[]) => received.map(({ event }) => event);

/** What the SDK says of the signature. */
export const isSigned = ({ raw, signature }: Received, key = "key_one") => Retell.verify(raw, key, signature);

/** The status to answer with, or no answer at all. */
type Answer = number | "hang";

/** A local server that takes webhooks, keeps them, and answers as a test says. */
export async function aReceiver() {
  const received = new Journal<Received>();
  const answers: Answer[] = [];
  const hanging: ServerResponse[] = [];

  const server = createServer(async (req, res) => {
    const raw = await text(req);
    const { event, chat } = Json.parse(JSON.parse(raw));
    const given: Received = {
      event: String(event),
      chat_id: String(Json.parse(chat).chat_id),
      chat: Json.parse(chat),
      raw,
      signature: String(req.headers["x-retell-signature"]),
      contentType: String(req.headers["content-type"]),
    };
    received.add(given);
    await receiver.before(given);
    const answer = answers.shift() ?? 204;
    if (answer === "hang") hanging.push(res);
    else res.writeHead(answer).end();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();

  const receiver = {
    url: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}/webhook`,
    /** What the next ones are answered with, in the order of their coming; then 204. */
    answers,
    /** Runs before each answer. */
    before: async (_: Received): Promise<unknown> => undefined,
    /** Resolves once so many have come. */
    arrived: (atLeast: number) => received.findAtLeast(atLeast, () => true),
    /** Answers those that were left hanging. */
    answerAll: () => {
      for (const res of hanging.splice(0)) res.writeHead(204).end();
    },
    /** Resolves when those that were left hanging have gone. */
    gone: () => Promise.all(hanging.filter(({ closed }) => !closed).map((res) => once(res, "close"))),
    stop: async () => {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
  return receiver;
}
