import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Page, Request } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { load } from "../dev/seed/load.ts";
import type { DevJson } from "../dev/start/greeting.ts";
import { aBrowserContext, accessibilityProblems, sizes } from "./support/browser.ts";
import { endAll, npmStart } from "./support/npm-start.ts";

/** The console and the reference page in a browser, on `npm start`. */
let about: DevJson;
let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "scalai-test-"));
  ({ about } = await npmStart(folder));
});
afterAll(async () => {
  await endAll();
  await rm(folder, { recursive: true, force: true, maxRetries: 5 });
});

/** What pages have done that none may: requests to other hosts, errors of scripts and of the security policy. */
const wrongs: string[] = [];
type Options = Parameters<typeof aBrowserContext>[0];

async function open(path = "/", options: Options = {}): Promise<Page> {
  const context = await aBrowserContext({ viewport: { width: 1_300, height: 800 }, ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(45_000);
  const isOwn = (request: Request) => /^(data|blob):/.test(request.url()) || request.url().startsWith(`${about.url}/`);
  page.on("request", (request) => isOwn(request) || wrongs.push(`request to ${request.url()}`));
  page.on("pageerror", (error) => wrongs.push(String(error)));
  page.on("console", (message) => /Content.Security.Policy/i.test(message.text()) && wrongs.push(message.text()));
  await page.goto(about.url + path);
  return page;
}

const startChat = async (page: Page, agent = "agent_demo_shop") => {
  await page.getByLabel("Agent", { exact: true }).selectOption(agent);
  await page.getByRole("button", { name: "Start a chat" }).click();
  await page.waitForURL(/#\/chats\//);
  await page.getByLabel("Message", { exact: true }).waitFor();
};
const say = async (page: Page, text: string) => {
  await page.getByLabel("Message", { exact: true }).fill(text);
  await page.keyboard.press("Enter");
};
const user = (page: Page, text: string) => page.locator(".message.user", { hasText: text });
const agent = (page: Page, text: string) => page.locator(".message.agent", { hasText: text });
const fault = (page: Page, name: string) => page.getByRole("button", { name });
const switchUser = (page: Page, name: string) => page.getByLabel("Signed in as").selectOption(name);

describe("the console", () => {
  it("a chat by keyboard alone: created, written in, ended", async () => {
    const page = await open();
    await page.getByRole("heading", { name: "Talk to an agent" }).waitFor();
    await page.getByLabel("Agent", { exact: true }).focus();
    for (const _ of ["variables", "start"]) await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    await agent(page, "Fernwood Lamps").waitFor();
    await page.keyboard.type("ping one"); // the field has the focus
    await page.keyboard.press("Enter");
    await agent(page, "ping one").waitFor();
    await user(page, "ping one").getByText("200").waitFor();

    await page.getByRole("tab", { name: "Details" }).focus();
    await page.keyboard.press("ArrowRight");
    await page.locator(".requests").getByText("send").waitFor();
    await page.getByRole("button", { name: "End the chat" }).focus();
    await page.keyboard.press("Enter");
    await page.getByText("This chat is over.").waitFor();
    await page.getByRole("tab", { name: "Details" }).click();
    await page.locator(".panel").getByText("agent_demo_shop").first().waitFor();
  });

  it("tool calls on demand; each request's curl and operationId can be copied", async () => {
    const page = await open("/", { permissions: ["clipboard-read", "clipboard-write"] });
    await startChat(page);
    await say(page, "order 1042");
    await agent(page, "order 1042").waitFor();
    expect(await page.locator(".tool").count()).toBe(0);
    await page.getByLabel("Tool calls").check();
    await page.getByText("Calls the tool").first().click();
    await page.getByText('"arguments"').first().waitFor();

    await user(page, "order 1042").getByRole("button", { name: /curl/ }).click();
    const curl = await page.evaluate<string>("navigator.clipboard.readText()");
    expect(curl).toMatch(/^curl -X POST 'http.*\/message' -H "authorization: Bearer \$TOKEN" -H 'idempotency-key: /);
    expect(curl).toContain('"content":"order 1042"');
    await user(page, "order 1042").getByRole("button", { name: /op / }).click();
    expect(await page.evaluate<string>("navigator.clipboard.readText()")).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("while Retell refuses a message it is shown as not sent, and it is sent once when Retell takes it", async () => {
    const page = await open();
    await startChat(page, "agent_quiet_demo");
    await page.getByRole("tab", { name: "Retell" }).click();
    await fault(page, "A message is refused four times").click();
    await page.getByText("1 fault waits").waitFor();
    await say(page, "ping refused");
    await user(page, "ping refused").getByText("Not sent").waitFor();
    await page.getByText("The agent cannot be reached").waitFor();
    await page.locator(".countdown").waitFor();
    await agent(page, "ping refused").waitFor(); // the client repeats it
    expect(await user(page, "ping refused").count()).toBe(1);
    expect(await agent(page, "ping refused").count()).toBe(1);
  });

  it("a reply after the API gave up: pending, not confirmed, then arrived late", { timeout: 180_000 }, async () => {
    const page = await open();
    await startChat(page, "agent_quiet_demo");
    await page.getByRole("tab", { name: "Retell" }).click();
    await fault(page, "The next reply takes 40 s").click();
    await page.getByText("1 fault waits").waitFor();
    await say(page, "ping late");
    await user(page, "ping late").getByText("Waiting for the agent").waitFor();
    await user(page, "ping late").getByText("Not confirmed yet").waitFor();
    await agent(page, "ping late").waitFor({ timeout: 120_000 });
    await user(page, "ping late").getByText("Arrived late").waitFor();
    expect(await user(page, "ping late").count()).toBe(1);
  });

  it("what a viewer and a stranger get: the reason, and never another user's page", async () => {
    const page = await open();
    await startChat(page);
    await switchUser(page, "viewer");
    await agent(page, "Fernwood Lamps").waitFor();
    await say(page, "ping");
    await page.getByText("You may not do this").waitFor();
    await page.getByText("Your role here: viewer").waitFor();
    await switchUser(page, "stranger");
    await page.getByText("Your role here: none").waitFor();
    expect(await page.locator(".message").count()).toBe(0);
  });

  it("the list: pages on scroll, a chat by a click; nothing twice", async () => {
    await load(about.services.mongodb, { subaccountId: about.subaccountId, chats: 120, messages: 4, seed: 1 });
    const page = await open("/#/chats");
    const rows = page.locator(".chats tbody tr");
    await expect.poll(() => rows.count()).toBeGreaterThanOrEqual(50);
    await expect
      .poll(async () => {
        await page.mouse.wheel(0, 20_000);
        return page.getByText(/all of them/).count();
      })
      .toBe(1);
    const ids = await rows.locator("a").allTextContents();
    expect(ids.length).toBeGreaterThanOrEqual(120);
    expect(new Set(ids).size).toBe(ids.length);
    await rows.last().click();
    await page.getByRole("heading", { name: ids.at(-1) ?? "" }).waitFor();
    await page.getByRole("tab", { name: "JSON" }).click();
    await page.locator("pre", { hasText: '"chat_id"' }).waitFor();
  });

  it("filters are chips in the address; a word leads to the message in which it was said", async () => {
    const page = await open("/#/chats");
    const rows = page.locator(".chats tbody tr");
    await page.locator(".total", { hasText: /\d chats/ }).waitFor();
    await page.getByRole("button", { name: "Filter" }).click();
    await page.getByLabel("Status").selectOption("ended");
    await page.getByRole("button", { name: "Apply" }).click();
    await page.waitForURL(/status=ended/);
    await expect.poll(async () => [...new Set(await rows.locator(".badge").allTextContents())]).toEqual(["ended"]);
    await page.goBack();
    await expect.poll(() => page.locator(".chip").count()).toBe(0);
    await page.goForward();
    await page.getByRole("link", { name: "Remove the filter Status" }).click();
    await expect.poll(() => page.url()).not.toContain("status");

    const search = page.getByRole("searchbox");
    await search.fill("a b c d e f");
    await page.keyboard.press("Enter");
    await page.getByRole("alert").getByText("q", { exact: true }).waitFor();
    await search.fill("zyxwvu");
    await page.keyboard.press("Enter");
    await page.getByText("Nobody has said this").waitFor();
    await search.fill("order");
    await page.keyboard.press("Enter");
    const match = page.locator(".match").first();
    expect((await match.locator("mark").first().textContent())?.toLowerCase()).toBe("order");
    await match.click();
    await page.locator(".message.found", { hasText: /order/i }).waitFor();
    await page.goBack();
    await match.waitFor();
  });

  it("a chat as a file, an export of the chats of a filter, and a chat that is deleted", async () => {
    const page = await open("/#/chats?status=ended");
    await page.getByRole("link", { name: "Export", exact: true }).click();
    await page.getByRole("button", { name: "Export these chats" }).click();
    await page.getByText("Status: ended", { exact: true }).waitFor();
    const csv = page.waitForEvent("download");
    await page.getByRole("link", { name: "Download" }).click();
    expect(await readFile(await (await csv).path(), "utf8")).toContain("chat_");
    await page.getByRole("button", { name: "Delete the file" }).click();
    await page.locator(".badge", { hasText: "expired" }).waitFor();

    await page.goto(`${about.url}/#/chats?status=ended`);
    const first = page.locator(".chats tbody a").first();
    const id = (await first.textContent()) ?? "";
    await first.click();
    const pdf = page.waitForEvent("download");
    await page.getByLabel("Export this chat").selectOption("pdf");
    expect((await readFile(await (await pdf).path())).subarray(0, 5).toString()).toBe("%PDF-");
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Keep it" }).click();
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("button", { name: "Delete the chat" }).click();
    await page.waitForURL(/#\/chats$/);
    await first.waitFor();
    expect(await page.locator(".chats tbody a", { hasText: id }).count()).toBe(0);
  });

  it("a limit that is used up: a countdown, then it goes on by itself", { timeout: 120_000 }, async () => {
    const page = await open("/#/chats");
    await page.locator(".chats tbody tr").first().waitFor();
    const list = `${about.url}/api/chats/${about.subaccountId}/list`;
    const headers = { authorization: `Bearer ${about.tokens.owner}` };
    await expect.poll(async () => (await fetch(list, { headers })).status).toBe(429);
    await page.getByRole("button", { name: "Refresh" }).click();
    await page.getByText("Too many requests").waitFor();
    await page.locator(".countdown", { hasText: / in \d+ s/ }).waitFor();
    await page.locator(".chats tbody tr").first().waitFor({ timeout: 60_000 });
  });

  it("a token that was handed over is taken out of the address, and kept for this tab alone", async () => {
    const page = await open(`/#token=${about.tokens.viewer}&subaccount=${about.subaccountId}`);
    await page.getByText("viewer@demo.example").waitFor();
    expect(page.url()).not.toContain("token");
    await page.reload();
    await page.getByText("viewer@demo.example").waitFor();
    expect(await page.evaluate("JSON.stringify(localStorage)")).not.toContain("eyJ");
  });
});

describe("everybody can use it", () => {
  const looks = (["light", "dark"] as const).flatMap((colorScheme) => [
    { name: `${colorScheme}, desktop`, options: { colorScheme, bypassCSP: true } },
    { name: `${colorScheme}, phone`, options: { colorScheme, bypassCSP: true, viewport: { width: 375, height: 700 } } },
  ]);
  it.each(looks)("axe finds nothing, and nothing is wider than the screen: $name", async ({ options }) => {
    const page = await open("/", options);
    const check = async (place: string) => {
      expect([place, await accessibilityProblems(page)]).toEqual([place, []]);
      const { content, screen } = await sizes(page);
      expect([place, content]).toEqual([place, screen]);
    };
    await page.getByRole("heading").waitFor();
    await check("talk");
    await startChat(page);
    await page.getByLabel("Tool calls").check();
    await say(page, "order 1042");
    await agent(page, "order 1042").waitFor();
    await check("chat");
    for (const name of ["Details", "Requests", "Retell", "JSON"]) {
      await page.getByRole("tab", { name }).click();
      await page.locator(".panel h2, .panel .requests").first().waitFor();
      await check(name);
    }
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await check("delete");
    await page.getByRole("button", { name: "Keep it" }).click();
    await page.getByRole("link", { name: "Chats" }).click();
    await page.locator(".chats tbody tr").first().waitFor({ timeout: 90_000 });
    await check("chats");
    await page.getByRole("button", { name: "Filter" }).click();
    await check("filters");
    await page.getByRole("searchbox").fill("order");
    await page.keyboard.press("Enter");
    await page.locator(".match").first().waitFor();
    await check("found");
    await page.goto(`${about.url}/#/exports?status=ongoing`);
    await page.getByRole("button", { name: "Export these chats" }).click();
    await page.getByRole("link", { name: "Download" }).first().waitFor();
    await check("exports");
    await page.getByRole("link", { name: "Analytics" }).click();
    await page.getByLabel("Groups").selectOption("status");
    await page.waitForURL(/group_by=status/);
    await page
      .getByRole("row", { name: /ongoing/ })
      .first()
      .waitFor();
    await check("analytics");
    await page.getByRole("link", { name: "Chats" }).click();
    await switchUser(page, "stranger");
    await page.getByRole("alert").waitFor();
    await check("forbidden");
    await switchUser(page, "");
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await check("sign in");
  });
});

describe("the reference page", () => {
  it("create, message and transcript run from it, with the demo's token and the chat that was created", async () => {
    const page = await open("/reference");
    const run = async (operation: string) => {
      const block = page.locator(`#operations-Chats-${operation}`);
      await block.locator(".opblock-summary-control").click();
      await block.locator(".execute").click();
      return block.locator(".live-responses-table tbody .response-col_status").first().textContent();
    };
    for (const operation of ["create", "message", "transcript"]) expect(await run(operation)).toMatch(/^200/);
    const transcript = page.locator("#operations-Chats-transcript .live-responses-table");
    expect(await transcript.textContent()).toContain("Where is my order?");
  });

  it("is no wider than a phone", async () => {
    const page = await open("/reference", { viewport: { width: 375, height: 700 } });
    await page.locator("#operations-Chats-message .opblock-summary-control").click();
    await page.locator("#operations-Chats-message .execute").waitFor();
    expect(await sizes(page)).toEqual({ content: 375, screen: 375 });
  });
});

it("no page has asked another host, thrown an error or broken its security policy", () => {
  expect(wrongs).toEqual([]);
});
