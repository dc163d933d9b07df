import { afterEach, expect, describe as group, it } from "vitest";
import { hide } from "./support/canaries.ts";
import { debugged, logged, printed, problems } from "./support/instance.ts";
import { aLog } from "./support/log.ts";

/** Every test file ends with a search for secrets in all of its output. These tests check that search. */
group("what a caller said is found where it must not stand,", () => {
  const said = "the word that nobody else may read";
  hide({ content: said });
  afterEach(() => {
    for (const written of [logged, debugged, printed]) written.length = 0;
  });

  const line = { level: "INFO", message: said, timestamp: "2026-01-01T00:00:00.000Z", service: "scalai-chat" };
  it.each<[string, () => void]>([
    ["a line of the log", () => aLog("sweep").info("Sent", { chatId: said })],
    ["a line of level DEBUG", () => aLog("sweep").debug("Sent", { key: said })],
    ["an object on the console", () => console.log("sent", { content: said })],
    ["a complaint on the console", () => console.error(new Error(said))],
    ["plain words", () => process.stderr.write(`${said}\n`)],
    [
      "plain words beside a line",
      () => process.stdout.write(`${JSON.stringify({ ...line, message: "x" })}\n${said}\n`),
    ],
  ])("%s", (_where, write) => {
    write();
    expect(problems().filter((text) => text.startsWith(said))).toHaveLength(1);
  });
});
