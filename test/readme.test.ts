import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Route } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { errors } from "../lib/platform/errors.ts";
import { endAll, npmStart, shells } from "./support/npm-start.ts";

const read = (name: string) => readFile(new URL(`../${name}`, import.meta.url), "utf8");
const readme = await read("README.md");
const reference = await read("docs/api.md");
const guarded = Object.values<Route>(routes).filter(({ permission }) => permission);
/** The answers that the reference shows, by the endpoint's name. */
const shown = new Map(
  [...reference.matchAll(/```json (\w+)\n(.*?)\n```/gs)].map(([, name = "", text = ""]) => [name, JSON.parse(text)]),
);

it("the reference shows an answer of every endpoint, and each is what its schema says", () => {
  expect([...shown.keys()]).toEqual(guarded.map(({ name }) => name));
  for (const route of guarded) {
    const { data, meta } = shown.get(route.name);
    route.data.parse(data);
    if (meta) route.meta?.parse(meta);
  }
});

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

  it.each(shells())("the reference's examples work in %s as they stand, and answer what it shows", async (shell) => {
    const answers = await paste(shell, reference);
    expect(answers.map((answer) => answer.message)).toEqual(guarded.map(({ message }) => message));
    for (const [index, { name }] of guarded.entries()) {
      expect(fieldsOf(shown.get(name))).toEqual(fieldsOf(answers[index] ?? { data: [] }));
    }
  });
});

/** Of an answer's data, or of the first in a list of such, and of the variables in it. */
function fieldsOf({ data }: { data: object[] | object }): string[][] {
  const [one] = [data].flat();
  const { retell_llm_dynamic_variables: variables = {} } = one as { retell_llm_dynamic_variables?: object };
  return [one ?? {}, variables].map((fields) => Object.keys(fields).sort());
}

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
