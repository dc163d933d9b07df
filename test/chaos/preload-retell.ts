/**
 * `node --import` runs this in the simulator of a run that is traced, before anything else: each of its answers goes to the
 * file CHAOS_TRACE.
 */
import diagnostics from "node:diagnostics_channel";
import type { IncomingMessage, ServerResponse } from "node:http";
import { compact, traceTo } from "./trace.ts";

const trace = traceTo(process.env.CHAOS_TRACE ?? "");
const calls = /^\/(get-chat|create-chat-completion|end-chat|_control\/chats\/)/;

diagnostics.subscribe("http.server.request.start", (message) => {
  const { request, response } = message as { request: IncomingMessage; response: ServerResponse };
  const at = Date.now();
  if (!calls.test(request.url ?? "")) return;
  let asked = "";
  let answered = "";
  const { push } = request;
  request.push = (chunk, ...rest) => {
    asked += chunk ?? "";
    return push.call(request, chunk, ...rest);
  };
  const keep = (chunk: unknown) => {
    if (typeof chunk === "string" || Buffer.isBuffer(chunk)) answered += chunk;
  };
  for (const name of ["write", "end"] as const) {
    const original = response[name] as (...args: unknown[]) => never;
    response[name] = (...args: unknown[]) => {
      keep(args[0]);
      return original.apply(response, args);
    };
  }
  response.once("close", () => {
    const status = response.headersSent ? response.statusCode : "none";
    trace("retell", { at, url: request.url, asked: compact(parse(asked)), status, answered: compact(parse(answered)) });
  });
});

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text.slice(0, 60);
  }
}
