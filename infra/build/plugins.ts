import { readFile } from "node:fs/promises";
import type { Plugin } from "esbuild";

/**
 * Files that a package brings beside its main one, and that bundle smaller. Figures are bytes of `list`.
 *
 * - mongodb: the TypeScript that the CommonJS in its `lib` was made of. As modules it can be shaken: 840 kB become 720,
 *   with every way to authenticate still in it, since nothing is taken out by hand.
 * - @upstash/ratelimit: the module that its package.json forgets to name; 4 kB.
 */
export const alias = {
  mongodb: "mongodb/src/index.ts",
  "@upstash/ratelimit": "@upstash/ratelimit/dist/index.mjs",
};

/**
 * What stands in for packages of which we use nothing, or nothing that Node lacks.
 *
 * - whatwg-url: the driver's parser of connection strings wants a URL class, and this package brings one with tables
 *   of all of Unicode, 290 kB and 14 ms of a cold start. Node's own follows the same standard.
 * - @upstash/core-analytics: 6 kB for statistics that we do not switch on.
 */
const standIns: Record<string, string> = {
  "whatwg-url": "export const { URL, URLSearchParams } = globalThis;",
  "@upstash/core-analytics": "export class Analytics {}",
};

/**
 * Where `lib/platform/mongo-driver.ts` is, once it is bundled, and how its TypeScript is read: as the driver's own build does. With
 * fields as JavaScript defines them, those that a class only declares would be emptied again after `super()`, the cause
 * of each of its errors for one.
 */
export const driver = {
  name: "mongo-driver",
  path: "./mongo-driver.cjs",
  options: { tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } } },
} as const;

/**
 * Puts the driver into a file of its own beside the bundle. Loaded only when it is needed, it would otherwise still be
 * read and parsed with the rest at every start: 13 of 81 ms.
 */
export const driverApart: Plugin = {
  name: "apart",
  setup(build) {
    build.onResolve({ filter: /\/mongo-driver\.ts$/ }, ({ kind }) =>
      kind === "entry-point" ? undefined : { path: driver.path, external: true },
    );
  },
};

/** Leaves out what a function would carry and never run. */
export const standIn: Plugin = {
  name: "leave out",
  setup(build) {
    for (const [name, contents] of Object.entries(standIns)) {
      build.onResolve({ filter: exactly(name) }, () => ({ path: name, namespace: "stand-in" }));
      build.onLoad({ filter: exactly(name), namespace: "stand-in" }, () => ({ contents }));
    }
    // The driver tells servers its version, and takes all of its package.json along for it: 7 kB.
    build.onLoad({ filter: /node_modules\/mongodb\/package\.json$/ }, async ({ path }) => {
      const { version } = JSON.parse(await readFile(path, "utf8"));
      return { contents: JSON.stringify({ version }), loader: "json" };
    });
  },
};

const exactly = (name: string) => new RegExp(`^${name}$`);
