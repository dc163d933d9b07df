// Loads a function's bundle in a process of its own, runs it on the given events, and reports what was loaded: files, and
// Node's modules, including internal ones.
const { basename } = require("node:path");

const [, , bundle, ...events] = process.argv;
const before = new Set(process.moduleLoadList);
const loaded = () => ({
  files: Object.keys(require.cache)
    .filter((file) => file !== __filename)
    .map((file) => basename(file)),
  builtins: process.moduleLoadList.filter((name) => !before.has(name)).map((name) => name.replace(/^\w+ /, "")),
});

async function main() {
  const { handler } = require(bundle);
  const moments = [loaded()];
  const answers = [];
  for (const event of events) {
    answers.push(await handler(JSON.parse(event), {}));
    moments.push(loaded());
  }
  process.send({ moments, answers }, () => process.exit());
}

main();
