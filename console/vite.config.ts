import { createReadStream } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig, type Plugin } from "vite";

/** What the pages load from node_modules. */
const packages = ["preact", "swagger-ui-dist", "vite"];
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

const swaggerUi = "node_modules/swagger-ui-dist/swagger-ui-bundle.js";

/** Vite's own answer would be this file as a module with its source map: 9 MB, seconds late. */
const swaggerUiAsItIs: Plugin = {
  name: "swagger-ui-as-it-is",
  apply: "serve",
  configureServer({ middlewares }) {
    middlewares.use(({ url = "" }, response, next) => {
      if (!url.endsWith(swaggerUi)) return next();
      response.setHeader("content-type", "text/javascript");
      createReadStream(here(`../${swaggerUi}`)).pipe(response);
    });
  },
};

/** Used by `npm start` (dev/gateway/pages.ts), and by the build for a deployment. */
export default defineConfig({
  plugins: [swaggerUiAsItIs],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  // All packages are ES modules: nothing needs to be bundled before the first page.
  optimizeDeps: { noDiscovery: true, include: [] },
  // Its source: the client needs no build step either.
  resolve: { alias: { "@scalai/chat": here("../packages/client/src/index.ts") } },
  server: {
    // Not the whole project: .local/ holds secrets.
    fs: { allow: [here("."), here("../packages/client"), ...packages.map((name) => here(`../node_modules/${name}`))] },
  },
  build: {
    target: "es2022",
    assetsInlineLimit: 0, // scripts and styles from data: are against the Content-Security-Policy
    modulePreload: { polyfill: false },
    rolldownOptions: { input: { console: here("index.html"), reference: here("reference/index.html") } },
  },
});
