import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { aBrowserContext } from "../support/browser.ts";
import { aGateway } from "../support/gateway.ts";
import { guideFiles } from "../support/guide.ts";
import { aWorld } from "../support/world.ts";

const source = fileURLToPath(new URL("../../packages/client", import.meta.url));
const { devDependencies: root } = JSON.parse(await readFile(join(source, "../../package.json"), "utf8"));

/** An app of somebody else's, into which the package is installed as it is published. */
let folder: string;
let packed: string[];
let settings: { baseUrl: string; subaccountId: string; token: string; agentId: string };

const run = async (command: string, args: string[], cwd = folder) => {
  const { NODE_OPTIONS: _, ...env } = process.env;
  const { stdout } = await promisify(execFile)(command, args, { cwd, env }).catch((failure) => {
    throw new Error(`${command} ${args.join(" ")}\n${failure.stdout}${failure.stderr}`);
  });
  return stdout;
};
const write = async (name: string, text: string) => {
  await mkdir(dirname(join(folder, name)), { recursive: true });
  await writeFile(join(folder, name), text);
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "client-pack-"));
  const said = await run("npm", ["pack", "--json", "--silent", "--pack-destination", folder], source);
  const [{ filename, files }] = JSON.parse(said.slice(said.indexOf("[")));
  packed = files.map(({ path }: { path: string }) => path);
  await write("package.json", JSON.stringify({ name: "app", private: true, type: "module" }));
  const compilers = ["ts54@npm:typescript@5.4.5", `ts7@npm:typescript@${root.typescript}`];
  const others = [...compilers, "vite@8.3.8", "react", "react-dom", `@types/node@${root["@types/node"]}`];
  await run("npm", ["install", "--prefer-offline", "--no-audit", "--no-fund", `./${filename}`, ...others]);

  const [world, gateway] = await Promise.all([aWorld({ agentId: "agent_demo_shop" }), aGateway()]);
  const { subaccountId, agentId, owner } = world;
  settings = { baseUrl: gateway.url, subaccountId, token: owner.token, agentId };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** What an app does first. */
const talk = () => `
  const { agentId, ...options } = ${JSON.stringify(settings)};
  const client = createClient(options);
  const talk = async () => {
    const { chat_id } = await client.chats.create({ agentId });
    const { messages } = await client.chat(chat_id).send("ping");
    return messages[0].content;
  };`;

it("holds the build and the README, and depends on nothing", async () => {
  const kinds = new Set(packed.map((path) => path.replace(/^dist\/(esm|cjs)\/\w+\.(d\.ts|js)$/, "dist/$1 $2")));
  const builds = ["dist/cjs d.ts", "dist/cjs js", "dist/esm d.ts", "dist/esm js"];
  expect([...kinds].sort()).toEqual(["README.md", ...builds, "dist/cjs/package.json", "package.json"].sort());
  const { dependencies } = JSON.parse(await run("npm", ["ls", "--json", "--all", "@scalai/chat"]));
  expect(dependencies["@scalai/chat"].dependencies).toBeUndefined();
});

it("is imported and required by Node", async () => {
  const say = `${talk()}\n talk().then(console.log);`;
  await write("script.mjs", `import { createClient } from "@scalai/chat";${say}`);
  await write("script.cjs", `const { createClient } = require("@scalai/chat");${say}`);
  expect(await run("node", ["script.mjs"])).toMatch(/ping/);
  expect(await run("node", ["script.cjs"])).toMatch(/ping/);
});

describe("its types", () => {
  const typed = `
    import { type Chat, ChatError, createClient, type Message, RateLimitError } from "@scalai/chat";
    const client = createClient({ baseUrl: "", subaccountId: "s", token: async () => "t", fetch });
    export async function typed(signal: AbortSignal): Promise<Message[]> {
      const { chat_id, meta } = await client.chats.create({ agentId: "a", metadata: { plan: 1 } }, { signal });
      const chat: Chat = client.chat(chat_id + meta.operationId);
      for await (const { message_count } of client.chats.list({ limit: 3, "metadata.plan": ["a", "b"] })) {
        const count: number | null = message_count;
        console.log(count);
      }
      for await (const { matches } of client.search("refund", { status: ["ended"], started_after: new Date() })) {
        console.log(matches[0]?.highlights);
      }
      const { totals } = await client.analytics({ interval: "week", from: 0 });
      const bytes: ArrayBuffer = await client.exports
        .create({ format: "csv", filter: { successful: true } })
        .download({ signal, onProgress: ({ progress }) => console.log(progress.chats, totals.chats) });
      const text: string = await client.exports.get("e").download({ as: "text" });
      const file: string = await chat.export("md", { timezone: "Europe/Berlin" });
      console.log(bytes.byteLength, text, file, (await chat.delete({ atRetell: true })).meta.at_retell);
      // @ts-expect-error: no chat has this status
      client.chats.list({ status: "over" });
      // @ts-expect-error: the API has no such filter
      client.chats.list({ plan: "a" });
      // @ts-expect-error: a text is needed
      await chat.send();
      // @ts-expect-error: there is no such field
      await client.chats.create({ agent: "a" });
      try {
        for await (const { messages, error } of chat.watch({ signal })) console.log(messages.length, error?.code);
        return (await chat.send("hi", { timeoutMs: 1 })).messages;
      } catch (error) {
        if (error instanceof RateLimitError) console.log(error.retryAfter?.toFixed());
        if (error instanceof ChatError && error.code === "CHAT_ENDED" && error.outcome === "failed") return [];
        throw error;
      }
    }`;
  const dom = { lib: ["ES2020", "DOM"], types: [] };
  it.each([
    ["ts54", "typed.mts", { module: "NodeNext", ...dom }],
    ["ts54", "typed.cts", { module: "NodeNext", ...dom }],
    ["ts54", "typed.ts", { module: "ESNext", moduleResolution: "Bundler", ...dom }],
    ["ts54", "typed.cts", { module: "CommonJS", moduleResolution: "Node10", ...dom }],
    ["ts7", "typed.mts", { module: "NodeNext", ...dom }],
    ["ts7", "typed.cts", { module: "NodeNext", ...dom }],
    ["ts7", "typed.ts", { module: "ESNext", moduleResolution: "Bundler", types: ["node"] }],
  ])("are understood by %s in %s, strictly, with %j", async (compiler, name, options) => {
    const strict = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, noEmit: true };
    await write(name, typed);
    await write(
      "tsconfig.json",
      JSON.stringify({ files: [name], compilerOptions: { target: "ES2020", ...strict, ...options } }),
    );
    expect(await run(process.execPath, [join(folder, "node_modules", compiler, "bin/tsc")])).toBe("");
  });
});

it("is bundled by Vite, and sends from a page of another origin", async () => {
  await write("vite/index.html", `<!doctype html><title>App</title><script type="module" src="/main.js"></script>`);
  await write("vite/main.js", `import { createClient } from "@scalai/chat";${talk()}\n window.talk = talk;`);
  const page = await (await aBrowserContext()).newPage();
  await page.goto(await built("vite"));
  expect(await page.evaluate("talk()")).toMatch(/ping/);
});

it("the guide's app is built from the package by Vite without a plugin, and sends", async () => {
  for (const [name, text] of await guideFiles()) await write(`guide/${name}`, text);
  const page = await (await aBrowserContext()).newPage();
  const { baseUrl: api, subaccountId: subaccount, token } = settings;
  await page.goto(`${await built("guide")}/#${new URLSearchParams({ api, subaccount, token })}`);
  await page.getByLabel("Message").fill("Where is my order?");
  await page.getByRole("button", { name: "Send" }).click();
  await page.locator("li.agent", { hasText: "Can I do anything else" }).waitFor();
});

/** Builds an app of this folder, and serves it. */
async function built(name: string): Promise<string> {
  await run(join(folder, "node_modules/.bin/vite"), ["build", name, "--logLevel", "error"]);
  const server = createServer(async (request, response) => {
    const path = request.url === "/" ? "/index.html" : String(request.url);
    const types: Record<string, string> = { ".html": "text/html", ".js": "text/javascript" };
    const text = await readFile(join(folder, name, "dist", path)).catch(() => undefined);
    response.writeHead(text ? 200 : 404, { "content-type": types[extname(path)] ?? "text/plain" }).end(text);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  onTestFinished(() => void server.close());
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
