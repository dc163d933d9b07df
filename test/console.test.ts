import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { aGateway, ask } from "./support/gateway.ts";

const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
});

const tenant = { subaccountId: "5ca1ab1e0000000000000010", tokens: { owner: "a.b.c" } };
const demo = { demo: async () => tenant };

it("the gateway serves the pages and their files, and every other path is still the API's", async () => {
  const gateway = await aGateway({ console: {} });
  for (const page of ["/", "/reference"]) {
    const { status, headers, body } = await ask(gateway, page);
    expect([status, headers["content-type"]]).toEqual([200, "text/html; charset=utf-8"]);
    expect(headers["content-security-policy"]).toMatch(/^default-src 'none'; script-src 'self'; style-src 'self'; /);
    const files = [...body.toString().matchAll(/(?:src|href)="(\/_console\/[^"]+)"/g)].map(([, path = ""]) => path);
    expect(files.length).toBeGreaterThanOrEqual(2);
    for (const file of files) expect([file, (await ask(gateway, file)).status]).toEqual([file, 200]);
  }
  expect((await ask(gateway, "/config.json")).json()).toEqual({ apiUrl: "/", local: true });
  for (const path of ["/console", "/index.html", "/src/main.tsx", "/_console", "/reference/"]) {
    expect([path, (await ask(gateway, path)).json()]).toMatchObject([path, { code: "NOT_FOUND" }]);
  }
  expect((await ask(gateway, "/", { method: "POST" })).json()).toMatchObject({ code: "NOT_FOUND" });
});

it("no file outside of the console can be read through it", async () => {
  const folder = await mkdtemp(join(import.meta.dirname, "../.local-test-"));
  closing.push(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "secrets.json"), '{"JWT_SECRET":"in-clear"}');
  const gateway = await aGateway({ console: {} });
  for (const path of [`@fs${folder}/secrets.json`, `@fs${folder}/secrets.json?raw`, "../package.json?raw"]) {
    const { status, body } = await ask(gateway, `/_console/${path}`);
    expect([path, status === 403 || status === 404, body.toString().includes("in-clear")]).toEqual([path, true, false]);
  }
});

it("the demo's tokens are for the console of npm start alone: no other gateway, origin or host name gets them", async () => {
  const gateway = await aGateway({ console: demo });
  const own = { origin: gateway.url };
  expect((await ask(gateway, "/_local/demo", { headers: own })).json()).toEqual({ ...tenant, faults: false });
  const others: Record<string, string>[] = [
    { origin: "https://evil.example" },
    { origin: "http://127.0.0.1:1" },
    { host: "evil.example" },
  ];
  for (const headers of others) {
    const answer = await ask(gateway, "/_local/demo", { headers });
    expect([answer.status, answer.headers["access-control-allow-origin"]]).toEqual([403, undefined]);
    expect(answer.body.toString()).not.toContain("a.b.c");
  }
  const plain = await aGateway({ console: {} });
  expect((await ask(plain, "/_local/demo")).json()).toEqual({ faults: false });
  expect((await ask(await aGateway(), "/_local/demo")).json()).toMatchObject({ code: "NOT_FOUND" });
});

it("faults go to the simulator's control API as they are, and nowhere without a simulator", async () => {
  const seen: string[] = [];
  const simulator = createServer(async (request, response) => {
    const body = Buffer.concat(await request.toArray()).toString();
    seen.push(`${request.method} ${request.url} ${body}`);
    response.writeHead(body === "bad" ? 400 : 200).end('{"faults":[]}');
  }).listen(0, "127.0.0.1");
  closing.push(() => simulator.close());
  await once(simulator, "listening");
  const address = simulator.address();
  const retellControl = `http://127.0.0.1:${typeof address === "object" ? address?.port : 0}/_control`;
  const gateway = await aGateway({ console: { retellControl } });
  const faults = (method: string, body?: string) =>
    ask(gateway, "/_local/faults", { method, ...(body ? { body } : {}) });
  expect((await faults("POST", '{"step":"any"}')).json()).toEqual({ faults: [] });
  expect((await faults("DELETE")).status).toBe(200);
  expect((await faults("POST", "bad")).status).toBe(400);
  expect((await ask(gateway, "/_local/chats")).status).toBe(404);
  expect(seen).toEqual([
    'POST /_control/faults {"step":"any"}',
    "DELETE /_control/faults ",
    "POST /_control/faults bad",
  ]);
  expect((await ask(await aGateway({ console: {} }), "/_local/faults")).status).toBe(404);
});
