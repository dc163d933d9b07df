import { COMMANDS, type Simulator } from "./commands.ts";
import { Fault } from "./fault.ts";
import { ODD_BODIES, ODD_ENCODINGS } from "./odd.ts";
import { Refusal } from "./refusal.ts";
import type { Answer } from "./steps.ts";

export const CONTROL = "/_control";

/** `segments`: the decoded path after `/_control`. */
type Call = { method: string; segments: string[]; query: URLSearchParams; body: unknown };

/** Answers a request to the control API. @throws 404 for an unknown command, 400 for an invalid body. */
export async function control(simulator: Simulator, call: Call, signal: AbortSignal): Promise<Answer> {
  const { method, segments, query, body } = call;
  const [group = "", ...rest] = segments;
  if (method === "GET" && group === "") return { status: 200, body: help() };
  const id = rest.join("/");
  const command =
    COMMANDS[`${method} /${segments.join("/")}`] ?? (id ? COMMANDS[`${method} /${group}/{id}`] : undefined);
  if (!command) throw new Refusal(404, `No such command: GET ${CONTROL} lists them`);
  const result = await command.run({ ...simulator, id, query, body, signal });
  if (method !== "GET") simulator.world.onChange();
  return { status: 200, body: result };
}

function help() {
  const commands = Object.entries(COMMANDS).map(([name, { does }]) => [name.replace(" ", ` ${CONTROL}`), does]);
  const faultKinds = Fault.options.map((kind) => kind.shape.kind.value);
  return { commands: Object.fromEntries(commands), faultKinds, odd: [...ODD_BODIES, ...ODD_ENCODINGS] };
}
