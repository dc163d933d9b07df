import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import Retell from "retell-sdk";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { aSimulator } from "./support/simulator.ts";

const README = new URL("../README.md", import.meta.url);

let readme: string;
let retell: Awaited<ReturnType<typeof aSimulator>>;

beforeAll(async () => {
  readme = await readFile(README, "utf8");
  retell = await aSimulator();
});
afterAll(() => retell.stop());

/** The names in the first column of the table with this heading. */
function namesIn(heading: string): string[] {
  const [, table = ""] = readme.split(`\n| ${heading} |`);
  const [rows = ""] = table.split("\n\n");
  return [...rows.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = ""]) => cell.match(/\w+/g) ?? []).sort();
}

describe("the README", () => {
  test("has an example that passes", async () => {
    const [, example = ""] = /```js\n(import .*?)```/s.exec(readme) ?? [];
    const directory = await mkdtemp(join(tmpdir(), "retell-simulator-"));
    const file = join(directory, "example.test.mjs");
    const script = example
      .replace('"retell-simulator"', JSON.stringify(new URL("../src/index.ts", import.meta.url)))
      .replace('"retell-sdk"', JSON.stringify(import.meta.resolve("retell-sdk")));
    await writeFile(file, script);
    const { NODE_OPTIONS: _, NODE_TEST_CONTEXT: __, ...env } = process.env;
    const { stdout } = await promisify(execFile)(process.execPath, ["--test", "--test-reporter=tap", file], { env });
    expect(stdout).toMatch(/^# pass 1$/m);
    await rm(directory, { recursive: true });
  });

  test("names every method of the SDK's chat resource, every fault and every oddity", async () => {
    const { chat } = new Retell({ apiKey: "key_test" });
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(chat)).filter((name) => name !== "constructor");
    expect(namesIn("method of `chat`")).toEqual(methods.sort());

    const { faultKinds, odd } = await retell.command("GET", "");
    expect(namesIn("`kind`")).toEqual((faultKinds as string[]).toSorted());
    expect(namesIn("`as` or `odd`")).toEqual((odd as string[]).toSorted());
  });

  test("has control commands that exist, with bodies that are understood", async () => {
    await retell.agent("agent_shop", { end_chat_after_silence_ms: null }); // an hour passes below
    await retell.command("POST", "/chats", { key: "key_dev", chat_id: "chat_1" });
    await retell.command("PUT", "/webhooks/key_dev", { url: "http://127.0.0.1:9/" });
    const [, script = ""] = /```sh\n(C=.*?)```/s.exec(readme) ?? [];
    const commands = [...script.matchAll(/^curl (?:-X (\w+) )?"?\$C(\S*?)"?(?: -d '(.*?)')? +#/gm)];
    expect(commands).toHaveLength(script.split("\n").length - 2);
    for (const [, method, path = "", body] of commands) {
      if (path.startsWith("/deliveries") || path.startsWith("/requests")) continue; // these want what has happened
      await retell.command(method ?? (body ? "POST" : "GET"), path, body && JSON.parse(body));
    }
    const profiles = [...readme.matchAll(/^\| (`\{.*?`) \|/gm)].flatMap(
      ([, cell = ""]) => cell.match(/\{.*?\}(?=`)/g) ?? [],
    );
    expect(profiles.length).toBeGreaterThan(10);
    for (const profile of profiles) await retell.agent("a", JSON.parse(profile));
  });
});
