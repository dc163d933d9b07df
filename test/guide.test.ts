import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";
import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Gateway } from "../dev/gateway.ts";
import * as errors from "../packages/client/src/index.ts";
import { aBrowserContext } from "./support/browser.ts";
import { aGateway } from "./support/gateway.ts";
import { guideFiles } from "./support/guide.ts";
import { aWorld, fault, type World } from "./support/world.ts";

const file = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));

let folder: string;
let app: string;
let world: World;
let gateway: Gateway;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "guide-"));
  const files = await guideFiles();
  for (const [name, text] of files) await writeFile(join(folder, name), text);
  const { outputFiles } = await build({
    entryPoints: [join(folder, "main.jsx")],
    ...({ bundle: true, format: "esm", jsx: "automatic", write: false, logLevel: "error" } as const),
    alias: { "@scalai/chat": file("packages/client/src/index.ts") },
    nodePaths: [file("packages/client/node_modules"), file("node_modules")],
    define: { "process.env.NODE_ENV": '"production"' },
  });
  const server = createServer(({ url }, response) => {
    const isScript = url === "/main.jsx";
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? outputFiles[0]?.text : files.get("index.html"));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  afterAll(() => void server.close());
  [world, gateway] = await Promise.all([aWorld({ agentId: "agent_demo_shop" }), aGateway()]);
  const session = { api: gateway.url, subaccount: world.subaccountId, token: world.owner.token };
  app = `http://127.0.0.1:${(server.address() as AddressInfo).port}/#${new URLSearchParams(session)}`;
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** The app in a page, once the agent has opened the chat. */
async function anApp() {
  const context = await aBrowserContext();
  const page = await context.newPage();
  await page.goto(app);
  await page.locator("li.agent").first().waitFor();
  return { context, page, send: (text: string) => write(page, text) };
}

async function write(page: Page, text: string): Promise<void> {
  await page.getByLabel("Message").fill(text);
  await page.getByRole("button", { name: "Send" }).click();
}

/** What stands in the user's messages. */
const own = async (page: Page) => (await page.locator("li.user").allTextContents()).map((text) => text.trim());

/** How often a text is there, once the agent has repeated it. */
async function answered(page: Page, text: string): Promise<number> {
  await page.locator("li.agent", { hasText: text }).waitFor();
  return page.locator("li.user", { hasText: text }).count();
}

describe("the guide's app", () => {
  it("shows what is sent at once, and the answer", async () => {
    const { page, send } = await anApp();
    await fault(world, "completion", { kind: "latency", ms: 300 });
    await send("ping one");
    expect(await own(page)).toEqual(["ping one Sending …"]);
    expect(await answered(page, "ping one")).toBe(1);
    expect(await own(page)).toEqual(["ping one"]);
  });

  it("sends after a lost connection what was written meanwhile, once, and says that it reconnects", async () => {
    const { context, page, send } = await anApp();
    await context.setOffline(true);
    await send("ping offline");
    await send("ping later");
    await page.getByRole("status").filter({ hasText: "No connection" }).waitFor();
    expect(await own(page)).toEqual(["ping offline Sending …", "ping later Sending …"]);
    await context.setOffline(false);
    expect([await answered(page, "ping offline"), await answered(page, "ping later")]).toEqual([1, 1]);
    await page.getByRole("status").waitFor({ state: "detached" });
    expect(await own(page)).toEqual(["ping offline", "ping later"]);
  });

  it("that is reloaded while it sends shows the message once, with its answer", async () => {
    const { page, send } = await anApp();
    await fault(world, "completion", { kind: "latency", ms: 800 });
    const sending = page.waitForRequest((request) => request.url().endsWith("/message"));
    await send("ping reloaded");
    await sending;
    await page.reload();
    expect(await answered(page, "ping reloaded")).toBe(1);
  });

  it("finds the answer to a message whose outcome was unknown", async () => {
    const { page, send } = await anApp();
    await fault(world, "completion", { kind: "drop", effect: "before" });
    await send("ping unknown");
    expect(await answered(page, "ping unknown")).toBe(1);
  });

  it("says when the chat is over, and starts a new one", async () => {
    const { page, send } = await anApp();
    await send("goodbye");
    await page.getByRole("button", { name: "Start a new one" }).click();
    await page.getByLabel("Message").waitFor();
    expect(await page.locator("li.user").count()).toBe(0);
  });
});

it("the guide has words for every class of error, and its table has each", async () => {
  const { wordsFor } = await import(join(folder, "words.js"));
  const guide = await readFile(file("docs/guide.md"), "utf8");
  const classes = Object.entries(errors).filter(([name]) => name.endsWith("Error") && name !== "ChatError");
  for (const [name] of classes) {
    if (!["AbortError", "DeadlineError", "ValidationError"].includes(name)) expect(guide).toContain(name);
  }
  const parts = { message: "", fields: [{ field: "content", in: "body", message: "Must not be blank" }] as const };
  const error = (name: string, more: object) => ({ name, ...parts, code: "", outcome: "failed", ...more });
  expect(wordsFor(error("AuthError", {}))).toBe("Please sign in again.");
  expect(wordsFor(error("RateLimitError", { retryAfter: 7.2 }))).toContain("8 s");
  expect(wordsFor(error("ValidationError", {}))).toBe("Not sent: Must not be blank.");
  expect(wordsFor(error("NetworkError", { code: "NETWORK_ERROR", outcome: "unknown" }))).toContain("finding out");
  expect(wordsFor(error("ChatError", { code: "INTERNAL_ERROR", operationId: "op1" }))).toContain("op1");
});

it("the guide's report finds, sums up and exports", async () => {
  const { url: baseUrl } = gateway;
  const { subaccountId, agentId, owner } = world;
  const { chats } = errors.createClient({ baseUrl, subaccountId, token: owner.token });
  const { chat_id } = await chats.create({ agentId });
  const report = (await readFile(join(folder, "report.js"), "utf8"))
    .replace("../scalai-chat/.local", ".")
    .replace('"@scalai/chat"', JSON.stringify(new URL("../packages/client/src/index.ts", import.meta.url)));
  await writeFile(join(folder, "report.mjs"), report);
  await writeFile(
    join(folder, "dev.json"),
    JSON.stringify({ url: baseUrl, subaccountId, tokens: { owner: owner.token } }),
  );
  const { stdout } = await promisify(execFile)(process.execPath, ["report.mjs"], { cwd: folder });
  expect(stdout).toMatch(/^today: [1-9].*\nexport exp_\S+\n.*^completed (\d+) of \1$/ms);
  expect(await readFile(join(folder, "chats.csv"), "utf8")).toContain(chat_id);
});

it("the guide's commands for polling are answered 304", async () => {
  const guide = await readFile(file("docs/guide.md"), "utf8");
  const [, lines = ""] = /```sh\n(API=.*?)```/s.exec(guide) ?? [];
  await mkdir(join(folder, ".local"));
  const dev = { url: gateway.url, subaccountId: world.subaccountId, tokens: { owner: world.owner.token } };
  await writeFile(join(folder, ".local/dev.json"), JSON.stringify(dev));
  expect((await promisify(execFile)("bash", ["-c", lines], { cwd: folder })).stdout).toBe("304\n");
});
