import { vi } from "vitest";
import { handler as run } from "../../functions/sweep.ts";
import { control, type World } from "./world.ts";

/** A run of the sweep so many hours from now. */
export async function runIn(hours: number) {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + hours * 3_600_000 });
  try {
    return await run();
  } finally {
    vi.useRealTimers();
  }
}

/** The requests of one step that Retell had of a subaccount. */
export const requests = async (world: World, step: string) =>
  (await control("retell", "GET", `/requests?step=${step}&key=${world.apiKey}`)).requests;
