import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { errors } from "../lib/errors.ts";
import type { Route } from "../lib/route.ts";
import { routes } from "../lib/routes.ts";

const readme = await readFile(new URL("../README.md", import.meta.url), "utf8");

it("the README shows an answer of every endpoint, and each is what its schema says", () => {
  const shown = [...readme.matchAll(/```json (\w+)\n(.*?)\n```/gs)].map(([, name = "", text = ""]) => {
    const route = (routes as Record<string, Route>)[name];
    const { data, meta } = JSON.parse(text);
    route?.data.parse(data);
    if (meta) route?.meta?.parse(meta);
    return name;
  });
  expect(shown).toEqual(
    Object.values<Route>(routes)
      .filter(({ permission }) => permission)
      .map(({ name }) => name),
  );
});

it("the README names every route and its limit", () => {
  for (const route of Object.values<Route>(routes).filter(({ path }) => path !== "$default")) {
    const line = readme.split("\n").find((row) => row.includes(`${route.method} ${route.path}`)) ?? "";
    expect(line).toMatch(route.limit ? `| ${route.limit.requests} |` : /nothing|signature/);
  }
});

it("the README explains every code", () => {
  expect(Object.keys(errors).filter((code) => !readme.includes(code))).toEqual([]);
});
