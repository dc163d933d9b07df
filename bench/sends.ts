/** Measures sends as they are, or without the write of words that stands beside each. */
import { registerHooks } from "node:module";
import { type Job, job, tell } from "./child.ts";
import type { Send } from "./growth.ts";
import { aPlace } from "./place.ts";

export interface SendsJob extends Job {
  words: "with" | "without";
}

/** In place of what writes words. */
const nothing = "data:text/javascript,export const add = async () => {};";

async function measure({ quick, words }: SendsJob): Promise<Send[]> {
  if (words === "without") {
    registerHooks({
      resolve: (specifier, context, next) =>
        specifier.endsWith("/mongo-index.ts") && context.parentURL?.endsWith("/with-words.ts")
          ? { url: nothing, shortCircuit: true }
          : next(specifier, context),
    });
  }
  const { load } = await import("./api.ts");
  const { sends } = await import("./growth.ts");
  const api = await load();
  const measured: Send[] = [];
  for (const messages of quick ? [10, 1_000] : [10, 1_000, 5_000]) {
    measured.push(await sends(api, await aPlace(), messages, quick ? 7 : 40));
  }
  return measured;
}

if (import.meta.main) tell(await measure(job()));
