// Loads a bundle as Lambda does, calls it once if there is an event, and reports the times from the start of the process
// until it was ready and until it had answered. CommonJS like Lambda's runtime, so an ES module costs the same here.
const { readFileSync, writeFileSync } = require("node:fs");
const [bundle, eventFile] = process.argv.slice(2);

(async () => {
  const { handler } = bundle.endsWith(".cjs") ? require(bundle) : await import(bundle);
  const ready = performance.now();
  const modules = process.moduleLoadList.length;
  if (eventFile) {
    const context = { awsRequestId: crypto.randomUUID(), getRemainingTimeInMillis: () => 29_000 };
    const { statusCode } = await handler(JSON.parse(readFileSync(eventFile)), context);
    if (statusCode !== 200) throw new Error(`Answered with ${statusCode}`);
  }
  writeFileSync(3, JSON.stringify({ ready, modules, answered: performance.now() }));
  process.exit(0);
})();
