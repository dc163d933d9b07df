import { vi } from "vitest";
import { handler as run } from "../../functions/sweep.ts";
import { control, type World } from "./world.ts";

/** Runs the sweep as if it were this many hours later. */
export async function runIn(hours: number) {
  vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + hours * 3_600_000 });
  try {
    return await run();
  } finally {
    vi.useRealTimers();
  }
}

/** The requests of one step that Retell has got for a subaccount. */
export const requests = async (world: World, step: string) =>
  (await control("retell", "GET", `/requests?step=${step}&key=${world.apiKey}`)).requests;
