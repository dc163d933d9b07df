import type * as z from "zod";
import { Profile } from "./schema.ts";

type Preset = { prefix: string; hint: string; profile: z.input<typeof Profile> };

/** Agents that behave in a special way by their name alone. Any other id is the plain agent of the shop. */
export const PRESETS: Preset[] = [
  { prefix: "agent_quiet", hint: "the user speaks first", profile: { begin_message: "" } },
  { prefix: "agent_bare", hint: "no message ids, no times", profile: { ids: "never" } },
  { prefix: "agent_patchy", hint: "ids now and then", profile: { ids: "sometimes" } },
  { prefix: "agent_slow", hint: "replies after 3 s", profile: { replyDelayMs: 3_000 } },
  { prefix: "agent_brief", hint: "closes after 2 min of silence", profile: { end_chat_after_silence_ms: 120_000 } },
  { prefix: "agent_private", hint: "stores no history", profile: { storage: "basic_attributes_only" } },
  { prefix: "agent_discreet", hint: "scrubs personal data", profile: { storage: "everything_except_pii" } },
  {
    prefix: "agent_guarded",
    hint: "guards against the word 'secret'",
    profile: { guardrail: { input: ["secret"], output: ["secret"] } },
  },
];

/** No such agent anywhere. */
export const MISSING_AGENT = "agent_missing";

/** How an agent of this name behaves as long as nobody has given it a profile. */
export function profileByName(agentId: string): Profile {
  return Profile.parse(PRESETS.find(({ prefix }) => agentId.startsWith(prefix))?.profile ?? {});
}
