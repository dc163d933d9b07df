import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, expect, it } from "vitest";
import type { Route } from "../lib/api/route.ts";
import { routes } from "../lib/api/routes.ts";
import { errors } from "../lib/platform/errors.ts";
import { endAll, npmStart, shells } from "./support/npm-start.ts";

const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");
const guarded = Object.values<Route>(routes).filter(({ permission }) => permission);
/** The answers that it shows, by the endpoint's name. */
const shown = new Map(
  [...readme.matchAll(/```json (\w+)\n(.*?)\n```/gs)].map(([, name = "", text = ""]) => [name, JSON.parse(text)]),
);

it("the README shows an answer of every endpoint, and each is what its schema says", () => {
  expect([...shown.keys()]).toEqual(guarded.map(({ name }) => name));
  for (const route of guarded) {
    const { data, meta } = shown.get(route.name);
    route.data.parse(data);
    if (meta) route.meta?.parse(meta);
  }
});

it("the README's examples work as they stand where `npm start` runs, and answer what it shows", async () => {
  const folder = await mkdtemp(join(tmpdir(), "scalai-test-"));
  afterAll(async () => {
    await endAll();
    await rm(folder, { recursive: true, force: true, maxRetries: 5 });
  });
  await npmStart(join(folder, ".local"));
  const examples = readme.slice(readme.indexOf("## The API")).matchAll(/```sh\n(.*?)```/gs);
  const script = [...examples].map(([, lines]) => lines).join("\necho\n");

  for (const shell of shells()) {
    const { stdout } = await promisify(execFile)(shell, ["-c", script], { cwd: folder });
    const answers = stdout.split("\n").filter((line) => line !== "");
    expect(answers.map((line) => JSON.parse(line).message)).toEqual(guarded.map(({ message }) => message));
    for (const [index, { name }] of guarded.entries()) {
      expect(fieldsOf(shown.get(name))).toEqual(fieldsOf(JSON.parse(answers[index] ?? "")));
    }
  }
});

/** Of an answer's data, or of the first in a list of such, and of the variables in it. */
function fieldsOf({ data }: { data: object[] | object }): string[][] {
  const [one] = [data].flat();
  const { retell_llm_dynamic_variables: variables = {} } = one as { retell_llm_dynamic_variables?: object };
  return [one ?? {}, variables].map((fields) => Object.keys(fields).sort());
}

it("the README names every route and its limit", () => {
  for (const route of Object.values<Route>(routes).filter(({ path }) => path !== "$default")) {
    const line = readme.split("\n").find((row) => row.includes(`${route.method} ${route.path}`)) ?? "";
    expect(line).toMatch(route.limit ? `| ${route.limit.requests} |` : /nothing|signature/);
  }
});

it("the README explains every code", () => {
  expect(Object.keys(errors).filter((code) => !readme.includes(code))).toEqual([]);
});
