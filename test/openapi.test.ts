import { readFile } from "node:fs/promises";
import { gunzipSync } from "node:zlib";
import { createConfig, lintFromString } from "@redocly/openapi-core";
import { describe, expect, it } from "vitest";
import { openapi } from "../dev/openapi/document.ts";
import { text } from "../dev/openapi.ts";
import { cors } from "../lib/api/cors.ts";
import { aGateway, ask } from "./support/gateway.ts";

const written = await readFile(new URL("../docs/openapi.json", import.meta.url), "utf8");

it("docs/openapi.json is what `npm run openapi` writes", () => {
  if (written !== text()) throw new Error("docs/openapi.json is out of date: refresh it by `npm run openapi`");
});

it("Redocly's linter finds nothing in it, by its strictest rules", async () => {
  // `exports` is no chat's id, and no export's id is the name of a route.
  const config = await createConfig({ extends: ["recommended-strict"], rules: { "no-ambiguous-paths": "off" } });
  const problems = await lintFromString({ source: written, absoluteRef: "docs/openapi.json", config });
  expect(problems.map(({ ruleId, message, location }) => [ruleId, message, location[0]?.pointer])).toEqual([]);
});

it("every header that a page of another origin may read is described, but for those of answers to come", () => {
  const described = Object.values(openapi().paths)
    .flatMap((methods) => Object.values(methods))
    .flatMap(({ responses }) => Object.values(responses).flatMap(({ headers }) => Object.keys(headers)))
    .map((name) => name.toLowerCase());
  const missing = cors.exposeHeaders.filter((name) => !described.includes(name));
  expect(missing).toEqual(["location", "preference-applied"]);
});

describe("GET /openapi.json", () => {
  const get = async (headers: Record<string, string> = {}) => ask(await aGateway(), "/openapi.json", { headers });

  it("answers docs/openapi.json to everyone, compressed if the client accepts it", async () => {
    const { status, headers, json } = await get();
    expect([status, headers["content-type"], json()]).toEqual([200, "application/json", JSON.parse(written)]);
    const compressed = await get({ "accept-encoding": "gzip" });
    expect(JSON.parse(gunzipSync(compressed.body).toString())).toEqual(JSON.parse(written));
  });

  it("answers 304 to whoever has it", async () => {
    const { etag = "" } = (await get()).headers;
    for (const has of [etag, `W/${etag}`, `"another", ${etag}`, "*"]) {
      const { status, headers, body } = await get({ "if-none-match": has });
      expect([status, headers.etag, headers["cache-control"], body.length]).toEqual([
        304,
        etag,
        "public, max-age=60",
        0,
      ]);
    }
    expect((await get({ "if-none-match": '"another"' })).status).toBe(200);
  });
});
