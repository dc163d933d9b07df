import { cp, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Plugin } from "esbuild";
import { packages } from "../../lib/chat/export/pdf/packages.ts";

/**
 * Other files of a package that give a smaller bundle. The figures are of `list`.
 *
 * - mongodb: its TypeScript sources. As ES modules they can be tree-shaken: 720 kB in place of 840, with every way to
 *   authenticate, since nothing is removed by hand.
 * - @upstash/ratelimit: the ES module that its package.json does not name; 4 kB.
 */
export const alias = {
  mongodb: "mongodb/src/index.ts",
  "@upstash/ratelimit": "@upstash/ratelimit/dist/index.mjs",
};

/**
 * Replacements for packages that are not used, or that Node can replace.
 *
 * - whatwg-url: the driver parses connection strings with its URL class, which has tables of all of Unicode: 290 kB and
 *   14 ms of a cold start. Node's own class follows the same standard.
 * - @upstash/core-analytics: 6 kB for statistics that are off.
 */
const standIns: Record<string, string> = {
  "whatwg-url": "export const { URL, URLSearchParams } = globalThis;",
  "@upstash/core-analytics": "export class Analytics {}",
};

/**
 * The bundle of `lib/platform/mongo-driver.ts`. Its TypeScript is compiled as in the driver's own build: with standard
 * class fields, a field that a class only declares would be reset after `super()`, such as the cause of an error.
 */
export const driver = {
  name: "mongo-driver",
  path: "./mongo-driver.cjs",
  options: { tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } } },
} as const;

/**
 * The bundle of `lib/chat/export/pdf/pdf.ts`. HarfBuzz stays a package beside it: it waits for its WebAssembly while it
 * is loaded, which only import() can.
 */
export const pdf = {
  name: "pdf",
  path: "./pdf.cjs",
  options: {
    supported: { "dynamic-import": true },
    external: ["harfbuzzjs"],
    // pdfkit names its own folder by it, and faces.ts that of the packages. CommonJS has none.
    define: { "import.meta.url": "fileUrl" },
    banner: { js: 'const fileUrl = require("node:url").pathToFileURL(__filename).href;' },
  },
} as const;

/**
 * Puts the driver, and what makes a PDF, into files of their own. They are loaded on first use, but in the same file they
 * would be read and parsed at every start: of the driver, 13 of 81 ms.
 */
export const apart: Plugin = {
  name: "apart",
  setup(build) {
    for (const [filter, { path }] of [
      [/\/mongo-driver\.ts$/, driver],
      [/\/pdf\/pdf\.ts$/, pdf],
    ] as const) {
      build.onResolve({ filter }, ({ kind }) => (kind === "entry-point" ? undefined : { path, external: true }));
    }
  },
};

/** Copies the packages of which a PDF needs more than code: HarfBuzz, and the faces in their one weight. */
export async function copyPdfPackages(root: string, folder: string): Promise<void> {
  const filter = (path: string) => !/\.(css|md|ts|scss)$|\/scss$/.test(path) && !/(?<!-wght-normal)\.woff2$/.test(path);
  for (const name of ["harfbuzzjs", ...packages.map((one) => `@fontsource-variable/${one}`)]) {
    await cp(join(root, "node_modules", name), join(folder, "node_modules", name), { recursive: true, filter });
  }
}

/** Leaves out code that no function runs. */
export const standIn: Plugin = {
  name: "leave out",
  setup(build) {
    for (const [name, contents] of Object.entries(standIns)) {
      build.onResolve({ filter: exactly(name) }, () => ({ path: name, namespace: "stand-in" }));
      build.onLoad({ filter: exactly(name), namespace: "stand-in" }, () => ({ contents }));
    }
    // The driver bundles its whole package.json, 7 kB, to send servers its version.
    build.onLoad({ filter: /node_modules\/mongodb\/package\.json$/ }, async ({ path }) => {
      const { version } = JSON.parse(await readFile(path, "utf8"));
      return { contents: JSON.stringify({ version }), loader: "json" };
    });
  },
};

const exactly = (name: string) => new RegExp(`^${name}$`);
