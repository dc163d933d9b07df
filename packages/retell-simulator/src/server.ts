import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { LoggedRequest, Simulator } from "./commands.ts";
import { CONTROL, control } from "./control.ts";
import { hostRefusal } from "./host.ts";
import { answer, respond } from "./misbehave.ts";
import { Refusal } from "./refusal.ts";
import { type Answer, type Step, steps } from "./steps.ts";
import { history } from "./view.ts";
import type { World } from "./world.ts";

const BODY_BYTES = 1_000_000;
const LOGGED_BYTES = 100_000;

/** How much of a body that is too large is read, so that its sender is still connected when the answer comes. */
const DISCARDED_BYTES = 16_000_000;

const ROUTES: [method: string, path: RegExp, step: Step][] = [
  ["POST", /^\/create-chat$/, "create"],
  ["POST", /^\/create-chat-completion$/, "completion"],
  ["GET", /^\/get-chat\/([^/]+)$/, "retrieve"],
  ["PATCH", /^\/update-chat\/([^/]+)$/, "update"],
  ["PATCH", /^\/end-chat\/([^/]+)$/, "end"],
  ["DELETE", /^\/delete-chat\/([^/]+)$/, "delete"],
  ["POST", /^\/v3\/list-chats$/, "list"],
  ["PUT", /^\/rerun-chat-analysis\/([^/]+)$/, "rerun"],
];

/**
 * The steps that wait for a webhook with `beforeAnswer`. The others do not: a receiver may read the chat before it
 * answers, and must not wait for itself.
 */
const CAUSES: Step[] = ["create", "completion", "end"];

const REFUSED_KEY: Record<number, string> = {
  401: "API Key is missing or invalid",
  402: "Trial has ended, please add a payment method",
  403: "This API key has no permission for this",
  429: "Account rate limited, please throttle your requests",
};

/** Serves Retell's chat API at Retell's paths, and the control API below `/_control`. */
export function createSimulatorServer(simulator: Simulator): Server {
  return createServer((req, res) => {
    res.on("error", () => {}); // the client may disconnect at any time
    serve(simulator, req, res).catch((error: unknown) => respond(res, errorAnswer(error)));
  });
}

async function serve(simulator: Simulator, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const refusal = hostRefusal(req);
  if (refusal) throw new Refusal(403, refusal);
  const { method = "", url = "" } = req;
  const [path = "", ...query] = url.split("?");
  simulator.world.clock.catchUp();

  if (path === CONTROL || path.startsWith(`${CONTROL}/`)) {
    const disconnected = new AbortController();
    res.once("close", () => disconnected.abort());
    const segments = path.slice(CONTROL.length).split("/").slice(1).map(decode);
    const call = { method, segments, query: new URLSearchParams(query.join("?")), body: await readBody(req) };
    return respond(res, await control(simulator, call, disconnected.signal));
  }

  for (const [routeMethod, pattern, step] of ROUTES) {
    const match = routeMethod === method ? pattern.exec(path) : null;
    if (match) return serveStep(simulator, req, res, step, decode(match[1] ?? ""));
  }
  throw new Refusal(404, `Cannot ${method} ${path}`);
}

async function serveStep(
  { world, faults, requests, webhooks }: Simulator,
  req: IncomingMessage,
  res: ServerResponse,
  step: Step,
  idInPath: string,
): Promise<void> {
  const key = /^bearer +(\S+)$/i.exec(req.headers.authorization ?? "")?.[1];
  const body = await readBody(req);
  const chatId = idInPath || chatIdOf(body);
  const logged: LoggedRequest = {
    method: req.method ?? "",
    path: req.url ?? "",
    step,
    key,
    chat_id: chatId,
    at: world.clock.now(),
    body: Number(req.headers["content-length"] ?? 0) > LOGGED_BYTES ? "(too long to keep)" : body,
  };

  const work = async (replyAfterMs?: number): Promise<Answer> => {
    try {
      const done = await steps[step](world, {
        key: authenticate(world, key),
        chatId: chatId ?? "",
        body,
        replyAfterMs,
      });
      if (step === "create") logged.chat_id = chatIdOf(done.body);
      if (CAUSES.includes(step)) await webhooks.firstAttempt(logged.chat_id ?? "");
      return done;
    } catch (error) {
      return errorAnswer(error);
    }
  };

  const chatNumber = world.chats.get(chatId ?? "")?.number ?? 0;
  const fault = faults.take({ step, key: key ?? "", chat_id: chatId, chatNumber });
  logged.fault = fault?.kind;
  const answered = answer(res, world.clock, fault, work, () => ownHistory(world, chatId));
  // Logged only now that the work has begun: a test that waits for the request may advance the clock at once.
  requests.add(logged);
  res.once("close", () =>
    requests.update(logged, {
      status: res.headersSent ? res.statusCode : undefined,
      unanswered: !res.writableFinished,
    }),
  );
  await answered;
}

/** The history without a stranger's entries. */
function ownHistory(world: World, chatId = "") {
  const chat = world.chats.get(chatId);
  if (!chat) return [];
  const { message_with_tool_calls: entries } = history(chat, world.profileOf(chat));
  return entries.filter((_, index) => !chat.entries[index + (chat.forgotten ?? 0)]?.truth?.isStrangers);
}

/** Any key that looks like one is a workspace, unless the control API says that it is refused. */
function authenticate(world: World, key: string | undefined): string {
  const status = world.refusedKeys.get(key ?? "");
  if (status === undefined && key?.startsWith("key_")) return key;
  throw new Refusal(status ?? 401, REFUSED_KEY[status ?? 401] ?? "Refused");
}

function errorAnswer(error: unknown): Answer {
  if (error instanceof Refusal) return { status: error.status, body: { status: "error", message: error.message } };
  console.error(error);
  return { status: 500, body: { status: "error", message: "The simulator itself has failed; see its output" } };
}

function decode(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment; // no chat has such an id
  }
}

function chatIdOf(body: unknown): string | undefined {
  const id = body !== null && typeof body === "object" && "chat_id" in body ? body.chat_id : undefined;
  return typeof id === "string" ? id : undefined;
}

/** The JSON of a request; undefined if it has no body. @throws 400 if it is not JSON or too large. */
async function readBody(req: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of req as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > DISCARDED_BYTES) req.destroy();
      else if (bytes <= BODY_BYTES) chunks.push(chunk);
    }
  } catch {
    throw new Refusal(400, "Request body has been cut off"); // the client has disconnected
  }
  if (bytes > BODY_BYTES) throw new Refusal(400, `Request body is larger than ${BODY_BYTES} bytes`);
  if (bytes === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw new Refusal(400, "Request body is not valid JSON");
  }
}
