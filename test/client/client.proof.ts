import "../support/own-retell.ts";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { beforeAll, expect, it, onTestFinished } from "vitest";
import { type Chat, type ChatError, type Client, createClient, type Fetch } from "../../packages/client/src/index.ts";
import { aBrowserContext } from "../support/browser.ts";
import { hide } from "../support/canaries.ts";
import { aWorld, control, type World } from "../support/world.ts";
import { aTroubledApi, diceOf, type TroubledApi } from "./troubled.ts";

const seed = 7;
const users = 100;
const sendsOfUser = 10;
/** Of the page in Chromium: chats, and messages in each before and after its reload. */
const [pageChats, pageSends] = [10, 5];

/** How every text begins, so that no log may hold it. */
const said = "words of a user ";

let world: World;
let api: TroubledApi;
const counts = { sends: 0, requests: 0, replayed: 0, reloads: 0, resumed: 0 };

beforeAll(async () => {
  hide({ content: said });
  world = await aWorld({ agentId: "agent_quiet" });
  api = await aTroubledApi(seed);
});

/** An open page of one user. When it is closed, its requests end and it writes nothing more. */
function aPage(name: string, held = new Map<string, string>()) {
  const dice = diceOf(seed, name);
  const closing = new AbortController();
  const isOpen = () => !closing.signal.aborted;
  const fetch: Fetch = async (url, init) => {
    if (!isOpen()) return new Promise<never>(() => {});
    counts.requests += 1;
    const instance = dice.of(api.urls);
    const signal = AbortSignal.any([closing.signal, ...(init.signal ? [init.signal] : [])]);
    return globalThis.fetch(url.replace("http://api", instance), { ...init, signal });
  };
  const client = createClient({
    ...{ baseUrl: "http://api", subaccountId: world.subaccountId, token: world.owner.token, fetch },
    attemptTimeoutMs: 10_000,
    storage: {
      getItem: (key) => held.get(key) ?? null,
      setItem: (key, value) => isOpen() && held.set(key, value),
      removeItem: (key) => isOpen() && held.delete(key),
    },
    onRequest: ({ replayed }) => {
      if (replayed) counts.replayed += 1;
    },
  });
  return { client, held, close: () => closing.abort() };
}

/** Sends all messages of one user in one chat, a few at a time, and reloads the page now and then. */
async function user(number: number): Promise<[string, string[]]> {
  const dice = diceOf(seed, `user ${number}`);
  let page = aPage(`page ${number}`);
  const { chat_id } = await page.client.chats.create({ agentId: world.agentId });
  const texts: string[] = [];
  while (texts.length < sendsOfUser) {
    const chat = page.client.chat(chat_id);
    const length = Math.min(dice.between(1, 3), sendsOfUser - texts.length);
    const burst = Array.from({ length }, (_, place) => `${said}${number}.${texts.length + place}`);
    texts.push(...burst);
    counts.sends += burst.length;
    const answers = Promise.all(burst.map((text) => answerOf(chat.send(text), text)));
    if (!dice.chance(0.1)) {
      await answers;
      continue;
    }
    await Promise.race([answers, delay(dice.between(1, 1_500))]);
    answers.catch(() => {}); // nobody is there any more
    page.close();
    counts.reloads += 1;
    page = aPage(`page ${number} after ${texts.length}`, page.held);
    for (const { message, answer, error } of await page.client.chat(chat_id).resume()) {
      counts.resumed += 1;
      expect([message.content, error]).toEqual([message.content, undefined]);
      expect(answer?.messages.map(({ content }) => content)).toEqual([expect.stringContaining(message.content)]);
    }
  }
  expect(page.held.size).toBe(0);
  return [chat_id, texts];
}

/** The agent repeats what it is told, so the answer shows whose it is. */
async function answerOf(sending: ReturnType<Chat["send"]>, text: string): Promise<void> {
  const { messages } = await sending.catch((error: ChatError) => {
    throw new Error(`${text}: ${error.code} (${error.outcome})`, { cause: error });
  });
  expect(messages.map(({ content }) => content)).toEqual([expect.stringContaining(text)]);
}

/** Every text once, and in order: at Retell, and in our transcript. */
async function check(client: Client, all: [string, string[]][]): Promise<void> {
  const { chats } = await control("retell", "GET", `/chats?key=${world.apiKey}`);
  let [lost, doubled] = [0, 0];
  for (const [chatId, texts] of all) {
    const { entries } = chats.find(({ chat_id }: { chat_id: string }) => chat_id === chatId);
    const atRetell = entries.filter(({ role }: { role: string }) => role === "user").map(contentOf);
    const messages = await Array.fromAsync(client.chat(chatId).messages());
    const own = messages.filter(({ role, delivery }) => role === "user" && !delivery);
    const here = own.map(contentOf);
    expect(new Set(own.map(({ client_message_id }) => client_message_id)).size).toBe(own.length);
    for (const history of [atRetell, here]) {
      lost += texts.filter((text) => !history.includes(text)).length;
      doubled += history.length - new Set(history).size;
      expect(history).toEqual(texts);
    }
  }
  console.log(JSON.stringify({ ...counts, lost, doubled }));
}
const contentOf = ({ content }: { content?: string }) => content;

it("1,000 messages are sent once each and in order, over pages that are reloaded", async () => {
  const all = await Promise.all(Array.from({ length: users }, (_, number) => user(number)));
  expect(counts.sends).toBe(users * sendsOfUser);
  await check(aPage("reader").client, all);
}, 300_000);

it("so are those of a page of another origin in Chromium, which is reloaded while it sends", async () => {
  const page = await (await aBrowserContext()).newPage();
  await page.goto(await anOrigin());
  const options = { baseUrl: api.urls[0], subaccountId: world.subaccountId, token: world.owner.token };
  const call = (name: string, ...args: unknown[]) =>
    page.evaluate(`page.${name}(${args.map((arg) => JSON.stringify(arg)).join()})`);
  const chats = (await call("create", options, world.agentId, pageChats)) as string[];
  const textsOf = (part: string) =>
    chats.map((chatId, chat): [string, string[]] => [
      chatId,
      Array.from({ length: pageSends }, (_, number) => `${said}in Chromium ${chat}.${part}${number}`),
    ]);
  const [before, after] = [textsOf("a"), textsOf("b")];

  const isAnswered = page.waitForResponse((response) => response.url().endsWith("/message"));
  const closed = call("talk", options, before).catch(() => "closed");
  await isAnswered; // others are under way, and most wait
  await page.reload();
  expect(await closed).toBe("closed");
  const answers = (await call("talk", options, after)) as string[][];

  const all = chats.map((chatId, chat): [string, string[]] => [
    chatId,
    [...(before[chat]?.[1] ?? []), ...(after[chat]?.[1] ?? [])],
  ]);
  for (const [chat, given] of answers.entries()) {
    const texts = all[chat]?.[1].slice(-given.length) ?? [];
    expect(given).toEqual(texts.map((text) => expect.stringContaining(text)));
  }
  expect(await page.evaluate("localStorage.length")).toBe(0);
  counts.sends += pageChats * pageSends * 2;
  await check(aPage("reader").client, all);
}, 300_000);

it("all that while instances were killed and connections cut", async () => {
  const troubles = await api.calm();
  console.log(JSON.stringify(troubles));
  expect(troubles.killed).toBeGreaterThan(3);
  expect(troubles["mongo cut"]).toBeGreaterThan(0);
});

/** The address of a page with the client, whose origin is not the API's. */
async function anOrigin(): Promise<string> {
  const entryPoints = [fileURLToPath(new URL("./page.ts", import.meta.url))];
  const { outputFiles } = await build({ entryPoints, bundle: true, format: "iife", write: false });
  const html = `<!doctype html><title>An app</title><script>${outputFiles[0]?.text}</script>`;
  const server = createServer((_, response) => response.setHeader("content-type", "text/html").end(html));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
