import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { DevJson } from "../dev/start/greeting.ts";
import type { Route } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { errors } from "../lib/platform/errors.ts";
import { endAll, npmStart, shells } from "./support/npm-start.ts";

const read = (name: string) => readFile(new URL(`../${name}`, import.meta.url), "utf8");
const readme = await read("README.md");
const reference = await read("docs/api.md");
const examples = await read("docs/examples.md");
const guarded = Object.values<Route>(routes).filter(({ permission }) => permission);
describe("where `npm start` runs", () => {
  let folder = "";
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "scalai-test-"));
    await npmStart(join(folder, ".local"));
  });
  afterAll(async () => {
    await endAll();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });

  /** Pastes all shell examples of a text, and returns what they print. */
  async function paste(shell: string, text: string): Promise<{ message: string; data: object }[]> {
    const examples = [...text.matchAll(/```sh\n(.*?)```/gs)].map(([, lines = ""]) => lines);
    const script = examples.join("").trim().split("\n").join("\necho\n");
    const { stdout } = await promisify(execFile)(shell, ["-c", script], { cwd: folder });
    return stdout
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  }

  it.each(shells())("the README's four curls work in %s as they stand", async (shell) => {
    const answers = await paste(shell, readme.slice(readme.indexOf("## A chat in four curls")));
    const { message, transcript, end } = routes; // create is the one whose answer is read by the line itself
    expect(answers.map((answer) => answer.message)).toEqual([message, transcript, end].map((route) => route.message));
  });

  it.each(shells())("the reference's examples work in %s as they stand", async (shell) => {
    const answers = await paste(shell, reference);
    expect(answers.map((answer) => answer.message)).toEqual(
      guarded.map(({ message, isBare }) => (isBare ? undefined : message)),
    );
  });

  it.each(shells())("the five calls of docs/examples.md work in %s as they stand", async (shell) => {
    const answers = await paste(shell, examples);
    const { message, transcript, end, list } = routes;
    expect(answers.map((answer) => answer.message)).toEqual([message, transcript, end, list].map((row) => row.message));
  });

  it.each([
    ["js", process.execPath, ["--input-type=module"]],
    ["python", "python3", ["-"]],
  ])("the five calls of docs/examples.md work in %s", async (language, program, args) => {
    const [, code = ""] = new RegExp(`\`\`\`${language}\n(.*?)\`\`\``, "s").exec(examples) ?? [];
    const { url, subaccountId, tokens }: DevJson = JSON.parse(await readFile(join(folder, ".local/dev.json"), "utf8"));
    const env = { ...process.env, API: `${url}/api/chats/${subaccountId}`, TOKEN: tokens.owner };
    const running = promisify(execFile)(program, args, { env });
    running.child.stdin?.end(code);
    const said = (await running).stdout.trim().split("\n");
    expect(said).toEqual([
      expect.stringContaining("order 1042"),
      "3 messages",
      "ended",
      expect.stringMatching(/^true$/i),
    ]);
  });
});

it.each([
  ["the README", readme],
  ["the reference", reference],
])("%s names every route and its limit", (_, text) => {
  for (const route of Object.values<Route>(routes).filter(({ path }) => path !== "$default")) {
    const line = text.split("\n").find((row) => row.includes(`\`${route.method} ${route.path}\``)) ?? "";
    expect(line).toMatch(route.limit ? `| ${route.limit.requests} |` : /\| none \|/);
  }
});

it("the reference explains every code, with its status", () => {
  const rows = reference.slice(reference.indexOf("## Errors")).split("\n");
  for (const [code, { status }] of Object.entries(errors)) {
    expect(rows.find((row) => row.startsWith("|") && row.includes(code))).toContain(`| ${status} |`);
  }
});
