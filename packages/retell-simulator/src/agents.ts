import type * as z from "zod";
import { Profile } from "./schema.ts";

type Preset = { prefix: string; hint: string; profile: z.input<typeof Profile> };

/** Agents whose id alone gives them a special behaviour. Any other id is an agent with the default profile. */
export const PRESETS: Preset[] = [
  { prefix: "agent_quiet", hint: "the user speaks first", profile: { begin_message: "" } },
  { prefix: "agent_bare", hint: "no message ids, no times", profile: { ids: "never" } },
  { prefix: "agent_patchy", hint: "ids and times on some messages", profile: { ids: "sometimes" } },
  { prefix: "agent_slow", hint: "replies after 3 s", profile: { replyDelayMs: 3_000 } },
  { prefix: "agent_brief", hint: "closes after 2 min of silence", profile: { end_chat_after_silence_ms: 120_000 } },
  { prefix: "agent_private", hint: "stores no history", profile: { storage: "basic_attributes_only" } },
  {
    prefix: "agent_guarded",
    hint: "blocks the word 'secret'",
    profile: { guardrail: { input: ["secret"], output: ["secret"] } },
  },
];

/** Agents with this prefix do not exist. */
export const MISSING_AGENT = "agent_missing";

/** The profile of an agent that has not been given one. */
export function profileByName(agentId: string): Profile {
  return Profile.parse(PRESETS.find(({ prefix }) => agentId.startsWith(prefix))?.profile ?? {});
}
