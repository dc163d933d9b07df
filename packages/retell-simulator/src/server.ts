import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { refusalOf } from "../../../dev/loopback.ts";
import { CONTROL, control } from "./control.ts";
import type { Faults } from "./faults.ts";
import type { Logged, RequestLog } from "./log.ts";
import { answer, respond } from "./misbehave.ts";
import { Refusal } from "./refusal.ts";
import { type Answer, type Step, steps } from "./steps.ts";
import { history } from "./view.ts";
import type { Webhooks } from "./webhooks.ts";
import type { World } from "./world.ts";

export type Simulator = { world: World; faults: Faults; log: RequestLog; webhooks: Webhooks };

const BODY_BYTES = 1_000_000;
const LOGGED_BYTES = 100_000;

/** What is read and thrown away of a body beyond the limit, so that its sender lives to see the answer. */
const PATIENCE_BYTES = 16_000_000;

const ROUTES: { method: string; path: RegExp; step: Step }[] = [
  { method: "POST", path: /^\/create-chat$/, step: "create" },
  { method: "POST", path: /^\/create-chat-completion$/, step: "completion" },
  { method: "GET", path: /^\/get-chat\/([^/]+)$/, step: "retrieve" },
  { method: "PATCH", path: /^\/update-chat\/([^/]+)$/, step: "update" },
  { method: "PATCH", path: /^\/end-chat\/([^/]+)$/, step: "end" },
  { method: "DELETE", path: /^\/delete-chat\/([^/]+)$/, step: "delete" },
  { method: "POST", path: /^\/v3\/list-chats$/, step: "list" },
  { method: "PUT", path: /^\/rerun-chat-analysis\/([^/]+)$/, step: "rerun" },
];

/** What makes events happen. A receiver may ask for the chat while it is told of one, and must not wait for itself. */
const CAUSES: Step[] = ["create", "completion", "end"];

/** The HTTP side: Retell's chat API at its own paths, and what steers the simulator under `/_control`. */
export function serverOf(simulator: Simulator): Server {
  return createServer((req, res) => {
    res.on("error", () => {}); // a caller who leaves in the middle of an answer is no news here
    handle(simulator, req, res).catch((error: unknown) => respond(res, refused(error)));
  });
}

async function handle(simulator: Simulator, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const { world } = simulator;
  const refusal = refusalOf(req);
  if (refusal) throw new Refusal(403, refusal);
  const [path = "", ...query] = (req.url ?? "").split("?");
  world.clock.catchUp();

  if (path === CONTROL || path.startsWith(`${CONTROL}/`)) {
    const gone = new AbortController();
    res.once("close", () => gone.abort());
    const body = await bodyOf(req);
    const call = {
      method: req.method ?? "",
      path: path.slice(CONTROL.length).split("/").slice(1).map(decode),
      query: new URLSearchParams(query.join("?")),
      body,
    };
    return respond(res, await control(simulator, call, gone.signal));
  }

  for (const { method, path: pattern, step } of ROUTES) {
    const match = method === req.method ? pattern.exec(path) : null;
    if (match) return serveStep(simulator, req, res, step, decode(match[1] ?? ""));
  }
  throw new Refusal(404, `Cannot ${req.method} ${path}`);
}

async function serveStep(
  { world, faults, log, webhooks }: Simulator,
  req: IncomingMessage,
  res: ServerResponse,
  step: Step,
  idInPath: string,
): Promise<void> {
  const key = /^bearer +(\S+)$/i.exec(req.headers.authorization ?? "")?.[1];
  const body = await bodyOf(req);
  const chatId = idInPath || idIn(body);
  const logged: Logged = {
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
      const done = await steps[step](world, { key: admit(world, key), chatId: chatId ?? "", body, replyAfterMs });
      if (step === "create") logged.chat_id = idIn(done.body);
      if (CAUSES.includes(step)) await webhooks.owed(logged.chat_id ?? "");
      return done;
    } catch (error) {
      return refused(error);
    }
  };

  const chatNumber = world.chats.get(chatId ?? "")?.number ?? 0;
  const fault = faults.take({ step, key: key ?? "", chat_id: chatId, chatNumber });
  logged.fault = fault?.kind;
  // What a stranger was told no caller can know to be told again.
  const historyNow = () => {
    const chat = world.chats.get(chatId ?? "");
    if (!chat) return [];
    const { message_with_tool_calls: shown } = history(chat, world.profileOf(chat), world.clock.now());
    return shown.filter((_, index) => !chat.entries[index + (chat.forgotten ?? 0)]?.truth?.isStrangers);
  };
  const answered = answer(res, world.clock, fault, work, historyNow);
  // Told of only now that it is under way: who waits to see it come may move the clock at once.
  log.add(logged);
  res.once("close", () =>
    log.close(logged, {
      status: res.headersSent ? res.statusCode : undefined,
      unanswered: !res.writableFinished,
    }),
  );
  await answered;
}

/** Whose workspace this is. Any key that looks like one is good unless the control endpoint says otherwise. */
function admit(world: World, key: string | undefined): string {
  const status = world.refusedKeys.get(key ?? "");
  if (status !== undefined) throw new Refusal(status, REFUSED[status] ?? "Refused");
  if (!key?.startsWith("key_")) throw new Refusal(401, "API Key is missing or invalid");
  return key;
}

const REFUSED: Record<number, string> = {
  401: "API Key is missing or invalid",
  402: "Trial has ended, please add a payment method",
  403: "This API key has no permission for this",
  429: "Account rate limited, please throttle your requests",
};

function refused(error: unknown): Answer {
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

function idIn(body: unknown): string | undefined {
  const id = body !== null && typeof body === "object" && "chat_id" in body ? body.chat_id : undefined;
  return typeof id === "string" ? id : undefined;
}

/** The JSON of a request, undefined when it has none. @throws 400 when it is not JSON or too large. */
async function bodyOf(req: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of req as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > PATIENCE_BYTES) req.destroy();
      else if (bytes <= BODY_BYTES) chunks.push(chunk);
    }
  } catch {
    throw new Refusal(400, "Request body has been cut off"); // nobody is left to read it
  }
  if (bytes > BODY_BYTES) throw new Refusal(400, `Request body is larger than ${BODY_BYTES} bytes`);
  if (bytes === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString());
  } catch {
    throw new Refusal(400, "Request body is not valid JSON");
  }
}
