import Retell from "retell-sdk";
import { afterAll, beforeEach } from "vitest";
import * as z from "zod";
import { startRetellSimulator } from "../../src/index.ts";
import { Chat, Json } from "../../src/schema.ts";

const Deliveries = z.array(z.looseObject({ id: z.string(), event: z.string(), attempt: z.number() }));

type Given = Record<string, unknown>;

/** A Retell simulator of a test's own, the SDK pointed at it, and its control endpoint in a few verbs. */
export async function aSimulator(options: Parameters<typeof startRetellSimulator>[0] = {}) {
  const { url, control, stop } = await startRetellSimulator(options);

  /** One request to the control endpoint; throws unless it is answered with 2xx. */
  const command = async (method: string, path: string, body?: unknown) => {
    const response = await fetch(control + path, {
      method,
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const answer = Json.parse(await response.json());
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${JSON.stringify(answer)}`);
    return answer;
  };

  return {
    url,
    control,
    stop,
    command,
    /** The SDK as a workspace uses it. */
    sdk: (apiKey = "key_one") => new Retell({ apiKey, baseURL: url, maxRetries: 0, logLevel: "off" }).chat,
    /** What the SDK does not let through: the bare answer. */
    raw: (method: string, path: string, body?: string, key = "key_one") =>
      fetch(url + path, { method, body, headers: { authorization: `Bearer ${key}` } }),
    advance: (ms: number) => command("POST", "/clock", { advanceMs: ms }),
    fault: (fault: Given | Given[]) => command("POST", "/faults", fault),
    agent: (id: string, profile: Given) => command("PUT", `/agents/${id}`, profile),
    settings: (settings: Given) => command("PATCH", "/settings", settings),
    /** The chat as it is held, whatever the API shows of it. */
    held: async (chatId: string) => Chat.parse(await command("GET", `/chats/${chatId}`)),
    /** Resolves once so many requests of the step have come. */
    arrived: (step: string, atLeast = 1, more = "") =>
      command("GET", `/requests?step=${step}&atLeast=${atLeast}${more}`),
    /** The attempts at webhooks that are over, once there are so many. */
    deliveries: async (atLeast = 0, more = "") =>
      Deliveries.parse((await command("GET", `/deliveries?atLeast=${atLeast}${more}`)).deliveries),
  };
}

/** A simulator for the tests of a file, without chats at the start of each, and the SDK. Registers the hooks. */
export async function anEmptySimulator() {
  const retell = await aSimulator();
  beforeEach(() => retell.command("DELETE", "/chats"));
  afterAll(retell.stop);
  return { retell, chats: retell.sdk() };
}
